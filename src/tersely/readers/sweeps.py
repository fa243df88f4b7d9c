"""The folder of a sweep: one file that lists its levels in order, and one evaluation a level."""

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from tersely.core.errors import ConfigError, TerselyWarning
from tersely.core.manifest import FILE, EvaluationManifest, read_manifest
from tersely.core.parsing import parse_json
from tersely.core.storage import write_atomically

SWEEP_FILE = "sweep.json"
SCHEMA = 1
# Of folders on every system, and none that begins with a dot or a dash.
_NAME = re.compile(r"[A-Za-z0-9_][\w.+-]{0,79}", re.ASCII)


class SweepKind(StrEnum):
    """What the levels of a sweep differ in."""

    EFFORTS = "efforts"
    BUDGETS = "budgets"
    PROMPTS = "prompts"
    BODIES = "extra-body-each"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLevel:
    """One level: what is sent at it, beyond what all levels send.

    ``sends`` is merged into each request; ``system_prompt`` stands before each problem, and
    ``phrase`` after it. ``budget_tokens`` is the budget that it asks for: ``of_all_tokens``, or of
    the thinking where it is known. ``refused``: why nothing came of it.
    """

    name: str
    sends: dict[str, object] = field(default_factory=dict)
    system_prompt: str | None = None
    phrase: str = ""
    of_all_tokens: bool = False
    budget_tokens: int | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRecord:
    """What a sweep's folder is: its levels in order. Each is the evaluation of its name in it."""

    kind: SweepKind
    levels: tuple[SweepLevel, ...]

    def with_refusal(self, name: str, reason: str | None) -> "SweepRecord":
        """The same, with why nothing came of a level; None: something did."""
        levels = (
            replace(each, refused=reason) if each.name == name else each for each in self.levels
        )
        return replace(self, levels=tuple(levels))


def is_sweep(folder: Path) -> bool:
    """Whether ``tersely sweep`` wrote the folder."""
    return (folder / SWEEP_FILE).is_file()


def read_sweep(folder: Path) -> SweepRecord:
    """The sweep in a folder.

    Raises:
        ConfigError: it cannot be read; names the file.
    """
    file = folder / SWEEP_FILE
    try:
        content = parse_json(file.read_bytes())
        if content["schema"] != SCHEMA:
            raise ValueError(
                f"its schema is {content['schema']!r}, and this version reads {SCHEMA}"
            )
        levels = tuple(SweepLevel(**each) for each in content["levels"])
        odd = [each for each in levels if not is_level_name(each.name)]
        if odd or not levels:
            raise ValueError(f"{odd[0].name!r} is no name of a level" if odd else "it has none")
        return SweepRecord(kind=SweepKind(content["kind"]), levels=levels)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ConfigError(
            f"{file} is no list of a sweep's levels ({error}); give the levels' folders one by one"
        ) from error


def write_sweep(folder: Path, record: SweepRecord) -> None:
    """Writes the list of levels."""
    content = {
        "schema": SCHEMA,
        "kind": str(record.kind),
        "levels": [asdict(each) for each in record.levels],
    }
    write_atomically(folder / SWEEP_FILE, json.dumps(content, indent=2) + "\n")


def is_level_name(name: object) -> bool:
    """Whether it can be the name of a folder in the sweep's own, on any system."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_sampled(folder: Path) -> None:
    """ConfigError for the folder of a sweep's level that was not sampled: why, and what was."""
    sweep, name = folder.parent, folder.resolve().name
    if not is_sweep(sweep) or _has_records(folder):
        return
    levels = read_sweep(sweep).levels
    level = next((level for level in levels if level.name == name), None)
    if level is None:
        return
    why = "has not been sampled yet" if level.refused is None else f"failed: {level.refused}"
    others = [str(sweep / each.name) for each in levels if _has_records(sweep / each.name)]
    there = f"sampled were {', '.join(others)}" if others else "no level was sampled"
    raise ConfigError(
        f"{folder} is a level of the sweep {sweep} that {why}; {there}; the same tersely sweep "
        "asks for it again"
    )


def list_levels(folder: Path) -> tuple[Path, ...]:
    """The evaluations of a sweep's levels, in order; without those that failed or have no samples.

    Few samples of a level that failed would leave few problems to compare the others on.

    Raises:
        ConfigError: the list cannot be read, no level was sampled, or levels were evaluated on
            different problems.
    """
    sampled = [
        folder / level.name
        for level in read_sweep(folder).levels
        if level.refused is None and _has_records(folder / level.name)
    ]
    if not sampled:
        raise ConfigError(f"{folder} is a sweep of which no level was sampled; sweep again")
    _check_problems(sampled)
    return tuple(sampled)


def expand_sweeps(paths: Sequence[Path]) -> list[Path]:
    """The paths, with each folder of a sweep replaced by its levels' evaluations.

    Raises:
        ConfigError: as ``list_levels``.
    """
    found: list[Path] = []
    for path in paths:
        if not is_sweep(path):
            found.append(path)
            continue
        found += list_levels(path)
        for level in read_sweep(path).levels:
            if level.refused is not None:
                warnings.warn(
                    f"{path}: the level {level.name} failed and is left out ({level.refused})",
                    TerselyWarning,
                    stacklevel=2,
                )
    return found


def _has_records(folder: Path) -> bool:
    # Loads polars, which the command line does without until it reads records.
    from tersely.readers.evaluations import RECORDS_FILE

    file = folder / RECORDS_FILE
    return file.is_file() and file.stat().st_size > 0


def _check_problems(folders: Sequence[Path]) -> None:
    """Refuses levels that were evaluated on different problems, or at different seeds."""
    first, *others = (read_manifest(f, EvaluationManifest) for f in folders if _is_whole(f))
    for name, other in zip([f.name for f in folders[1:]], others, strict=True):
        for key in ("benchmark_digest", "samples", "seed", "cap_tokens"):
            one, two = getattr(first, key), getattr(other, key)
            if one != two:
                raise ConfigError(
                    f"the levels {folders[0].name} and {name} of {folders[0].parent} differ in "
                    f"{key.replace('_', ' ')} ({one} and {two}), so that they are no levels of one "
                    "sweep; sweep anew in another folder"
                )


def _is_whole(folder: Path) -> bool:
    if not (folder / FILE).is_file():
        raise ConfigError(f"{folder} holds no {FILE}; restore it, or sweep anew in another folder")
    return True
