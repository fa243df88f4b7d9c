"""The house's floors: a module imports only from lower floors or its own folder."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "tersely"
FLOORS = {
    "core": 0,
    "rewards": 1,
    "targets": 1,
    "algo": 1,
    "metrics": 1,
    "dynamics": 1,
    "tasks": 2,
    "lab": 2,
    "engines": 3,
    "readers": 3,
    "trackers": 3,
    "flows": 4,
    "callback": 5,
    "report": 5,
    "cli": 6,
    "wording": 5,
    "checking": 5,
    "arguments": 6,
    "surface": 7,
    "__main__": 7,
}
# Inside flows the folders have an order of their own; a file beside them stands with the first.
FLOWS = {
    "recipe": 0,
    "evaluate": 1,
    "train": 2,
    "price": 3,
    "curate": 4,
    "lint": 5,
    "trl": 6,
    "verl": 6,
    "study": 7,
}
# Lines of a body, docstring aside; these are longer, for what they list belongs in one place.
FUNCTION_LINES = 40
LONGER = {
    "flows.trl.settings._refuse": 47,  # one line or two for each thing that TRL cannot do
}
# Loaded only inside the modules that need them, so that reading records needs none of them.
HEAVY = {"torch", "transformers", "trl", "verl", "vllm"}
LIGHT_PLACES = ("core", "rewards", "targets", "metrics", "dynamics", "report", "cli")
FILES = sorted(ROOT.rglob("*.py"))


def place_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(file: Path, *, top_level_only: bool = False) -> list[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_a_module_imports_only_from_lower_floors_or_its_own_folder(file: Path) -> None:
    here = place_of(file)
    if here == "__init__":
        return
    for name in imported(file):
        parts = name.split(".")
        if parts[0] != "tersely" or parts[1] not in FLOORS:
            continue
        there = parts[1]
        assert there == here or FLOORS[there] < FLOORS[here], f"{here} imports {name}"


@pytest.mark.parametrize(
    "file", [f for f in FILES if place_of(f) == "flows"], ids=lambda f: str(f.relative_to(ROOT))
)
def test_the_folders_of_flows_import_each_other_in_one_order(file: Path) -> None:
    here = file.relative_to(ROOT).parts[1]
    if here not in FLOWS:  # a file beside the folders
        return
    for name in imported(file):
        parts = name.split(".")
        if parts[:2] == ["tersely", "flows"] and parts[2] in FLOWS and parts[2] != here:
            assert FLOWS[parts[2]] < FLOWS[here], f"flows/{here} imports {name}"


def test_every_folder_of_flows_has_its_place_in_the_order() -> None:
    folders = {f.name for f in (ROOT / "flows").iterdir() if f.is_dir()} - {"__pycache__"}
    assert folders == FLOWS.keys()


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count as well: they hide a circle, they do not undo it."""
    modules = {
        ".".join(("tersely", *f.relative_to(ROOT).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): f
        for f in FILES
    }
    graph = {
        name: {
            there if there in modules else there.rpartition(".")[0]
            for there in imported(file)
            if there.startswith("tersely.")
        }
        - {name}
        for name, file in modules.items()
    }
    TopologicalSorter(graph).prepare()  # CycleError names the circle


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_heavy_libraries_stay_out_of_what_reads_records(file: Path) -> None:
    if place_of(file) in LIGHT_PLACES:
        assert not HEAVY & {name.split(".")[0] for name in imported(file, top_level_only=True)}


def test_every_folder_has_a_floor() -> None:
    folders = {f.name for f in ROOT.iterdir() if f.is_dir() and not f.name.startswith("__")}
    assert folders - {"recipes"} <= FLOORS.keys()


def test_files_stay_under_400_lines() -> None:
    long = {str(f): n for f in FILES if (n := f.read_text(encoding="utf-8").count("\n")) > 400}
    assert not long


def type_names(file: Path) -> list[str]:
    """The classes and type aliases of a module, which alone are written in CamelCase."""
    names = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if re.match(r"_?[A-Z]\w*[a-z]", name)]


def test_a_type_name_stands_for_one_thing_in_the_whole_package() -> None:
    places: dict[str, list[str]] = {}
    for file in FILES:
        for name in type_names(file):
            places.setdefault(name, []).append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def bodies(file: Path) -> dict[str, int]:
    """The lines of each function's body, without its signature and docstring."""
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    lines = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            first, last = (body[0].lineno, body[-1].end_lineno or 0) if body else (1, 0)
            lines[f"{module}.{node.name}"] = last - first + 1
    return lines


def test_functions_have_forty_lines_at_most_and_the_exceptions_are_named() -> None:
    long = {k: n for file in FILES for k, n in bodies(file).items() if n > FUNCTION_LINES}
    assert long.keys() == LONGER.keys(), long
    assert all(long[name] <= most for name, most in LONGER.items()), long
