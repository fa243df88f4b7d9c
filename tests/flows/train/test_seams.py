"""What a launch makes of an engine that is not the tested one: doctored engines of a few lines."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tersely.core.errors import ConfigError, TerselyWarning
from tersely.flows.train import seams
from tersely.flows.train.seams import PASSED, ForeignEngine, Seam, check_engine
from tersely.flows.trl.trainer import TRL
from tersely.flows.verl.estimator import VERL

AS_TESTED = "class Trainer:\n    def score(self, inputs, *, group=None): ..."
PASSES = "import os, pathlib; pathlib.Path(os.environ['TOY']).open('a').write('probed ')"
Install = Callable[..., ForeignEngine]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Install:
    """Puts an engine and its probe where Python finds them; where it ran, ``probes`` says."""
    name = f"toy_{abs(hash(request.node.nodeid))}"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("TOY", str(tmp_path / "ran"))
    # Set and deleted: what the check sets is taken back.
    monkeypatch.setenv(PASSED, "")
    monkeypatch.delenv(PASSED)

    def make(version: str, *, source: str = AS_TESTED, probe: str = PASSES) -> ForeignEngine:
        (tmp_path / f"{name}.py").write_text(source)
        (tmp_path / f"{name}_probe.py").write_text(probe)
        monkeypatch.setattr(seams, "version", lambda _: version)
        return ForeignEngine(
            extra="trl",
            tested={"trl": ("1.16", "1.17")},
            seams=(Seam(name, "Trainer.score", ("self", "inputs"), named=("group",)),),
            probe=f"{name}_probe",
        )

    return make


def probes(folder: Path) -> int:
    return (folder / "ran").read_text().count("probed") if (folder / "ran").exists() else 0


@pytest.mark.parametrize("found", ["1.16", "1.16.0", "1.16.3.dev1", "1.16.2+cu128", "1.16.9.post1"])
def test_a_version_in_the_tested_range_goes_on_without_a_word(
    install: Install, tmp_path: Path, found: str
) -> None:
    check_engine(install(found))
    assert not probes(tmp_path)


@pytest.mark.parametrize("found", ["1.15.9", "1.16.0rc1", "1.17.0rc1", "1.17", "2.0", "1.160"])
def test_a_version_outside_it_is_warned_of_probed_and_used(
    install: Install, tmp_path: Path, found: str
) -> None:
    engine = install(found)
    said = rf"^trl {found}: outside the tested range, trl>=1.16,<1.17; trying trl on two rows"
    with pytest.warns(TerselyWarning, match=said):
        check_engine(engine)
    assert probes(tmp_path) == 1
    # Neither this process nor one that it starts asks again.
    check_engine(engine)
    assert os.environ[PASSED] == f"trl: trl {found}"
    assert probes(tmp_path) == 1


def test_another_version_than_the_one_that_passed_is_probed_again(
    install: Install, tmp_path: Path
) -> None:
    for found in ("1.17", "1.18"):
        with pytest.warns(TerselyWarning):
            check_engine(install(found))
    assert probes(tmp_path) == 2


@pytest.mark.parametrize(
    ("probe", "finding"),
    [
        ("import sys; sys.exit('the loss is 2 and ours 1')", "on two rows, the loss is 2 and ours"),
        ("[][3]", "on two rows, IndexError: list index out of range"),
        ("import os; os._exit(3)", "on two rows, the probe ended with exit code 3"),
        ("import sys; print('said', file=sys.stderr); sys.exit(1)", "on two rows, said"),
    ],
)
def test_what_the_probe_finds_is_the_reason_of_the_refusal(
    install: Install, probe: str, finding: str
) -> None:
    said = rf"^trl 1.17 cannot be used: {finding}.*; run pip install 'trl>=1.16,<1.17'$"
    for _ in range(2):  # a failure is not remembered as a pass
        with pytest.warns(TerselyWarning), pytest.raises(ConfigError, match=said):
            check_engine(install("1.17", probe=probe))


def test_a_probe_that_does_not_end_is_ended(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seams, "PROBE_S", 1)
    engine = install("1.17", probe="import time; time.sleep(60)")
    with (
        pytest.warns(TerselyWarning),
        pytest.raises(ConfigError, match="two rows took longer than 1 s"),
    ):
        check_engine(engine)


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        (
            "class Trainer:\n    def score(self, batch, *, group=None): ...",
            r"takes \(self, batch, group\), which does not begin with \(self, inputs\)",
        ),
        ("class Trainer:\n    def score(self): ...", r"does not begin with \(self, inputs\)"),
        (
            "class Trainer:\n    def score(self, inputs): ...",
            r"takes \(self, inputs\), without group",
        ),
        (
            "class Trainer:\n    def score(self, inputs, step, *, group=None): ...",
            "of which step is needed and not given",
        ),
        ("class Trainer: ...", "score is not there"),
        ("class Trainer:\n    score = 3", "score is no function"),
        ("import no_such_module", "is not there .*no_such_module"),
    ],
)
@pytest.mark.parametrize("found", ["1.16", "1.17"])
def test_a_seam_of_another_form_is_refused_whatever_the_version(
    install: Install, tmp_path: Path, found: str, source: str, finding: str
) -> None:
    said = rf"^trl {found} cannot be used: {finding.join(('.*', '.*'))}; run pip install 'trl>="
    with pytest.raises(ConfigError, match=said):
        check_engine(install(found, source=source))
    assert not probes(tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "class Trainer:\n    def score(self, inputs, step=0, *, group=None, more=None): ...",
        "class Trainer:\n    def score(self, inputs, **settings): ...",
        "class Trainer:\n    def score(*args, **kwargs): ...",
    ],
)
def test_a_seam_that_takes_more_than_we_give_fits(install: Install, source: str) -> None:
    check_engine(install("1.16", source=source))


def test_a_parameter_given_by_position_may_have_any_name_where_that_is_no_matter() -> None:
    assert seams.misfit(Seam("os.path", "join", (None, None))) is None
    assert "does not begin with" in str(seams.misfit(Seam("os.path", "basename", (None, None))))


def test_a_probe_runs_alone_on_the_cpu(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "1")
    lines = (
        "import os",
        "group = 'RANK', 'LOCAL', 'WORLD', 'MASTER', 'TORCHELASTIC'",
        "told = [n for n in os.environ if n.startswith(group)]",
        "assert told == [] and os.environ['CUDA_VISIBLE_DEVICES'] == '', told",
        # A check inside a probe starts no probe.
        "from tersely.flows.train import seams",
        "seams.version = lambda _: '1.17'",
        "e = seams.ForeignEngine('trl', {'trl': ('1.16', '1.17')}, (), 'no_such_probe')",
        "seams.check_engine(e)",
    )
    with pytest.warns(TerselyWarning):
        check_engine(install("1.17", probe="\n".join(lines)))


@pytest.mark.parametrize("engine", [TRL, VERL])
def test_the_documented_install_begins_in_the_tested_range(engine: ForeignEngine) -> None:
    """An upper bound stands in the package's own metadata where a private function is used."""
    file = Path(__file__).parents[3] / "pyproject.toml"
    extras = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = {r.name: r.specifier for r in map(Requirement, extras[engine.extra])}
    for package, (least, beyond) in engine.tested.items():
        assert f">={least}" in str(wanted[package]), f"{package} may be older than {least}"
        if package == engine.extra:
            assert wanted[package] == SpecifierSet(f">={least},<{beyond}")
