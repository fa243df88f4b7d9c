"""The worlds of the shipped studies: whose base each has, and the first one's results, judged."""

from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.engines.folders import lab_folder
from tersely.flows.study.judge import Evidence, judge_study
from tersely.flows.study.judged import gather
from tersely.flows.study.lab import STUDIES, Lab
from tersely.flows.study.plan import NamedStudy, base_settings, find_studies
from tersely.flows.study.pool import StudyPool, lab_of
from tersely.flows.study.work import StudyFolders
from tersely.metrics.verdicts import ClaimVerdict

RESULTS = Path(__file__).parents[3] / "docs" / "data" / "studies"
# Those whose runs the first lab has.
FIRST = ("two-stages", "budgets", "prompts", "rollouts", "negatives", "staleness", "transfer")
FIRST += ("targets", "rewards")


# What the paper column of a claim says that was written when some runs had been seen.
LATE = "added when "


def first_studies() -> list[NamedStudy]:
    return [study for study in find_studies("all", Lab.V1) if study.name in FIRST]


def test_the_studies_are_of_the_second_lab_unless_told_otherwise() -> None:
    assert base_settings() == base_settings(lab=Lab.V2)
    assert find_studies("all") == find_studies("all", Lab.V2)
    for lab in Lab:
        assert base_settings(lab=lab)["model"]["path"] == lab
    assert lab_folder() == lab_folder("lab-v2")
    words = ["study", "two-stages", "--dry-run"]
    shown = CliRunner().invoke(app, [*words, "--out", "nowhere"]).output
    assert "arms start from lab-v2: L_T 112, L_R 448 tokens, 240 steps" in " ".join(shown.split())


def test_results_say_themselves_which_lab_they_are_of(tmp_path: Path) -> None:
    assert lab_of(StudyPool(RESULTS / Lab.V1 / "pool")) is Lab.V1
    assert lab_of(StudyPool(tmp_path)) is Lab.V2
    words = ["study", "budgets", "--results", str(RESULTS / Lab.V1), "--out", str(tmp_path)]
    told = CliRunner().invoke(app, [*words, "--dry-run"])
    assert "arms start from lab-v1" in told.stderr
    assert "20 runs, 0 of them to be trained" in told.stderr
    other = CliRunner().invoke(app, [*words, "--judge-only", "--lab", "lab-v2"])
    assert other.exit_code == 2
    assert "may need --lab lab-v1" in " ".join(other.stderr.split())


def test_every_claim_of_the_first_lab_has_the_same_bound_in_the_second() -> None:
    first, second = (find_studies("all", lab) for lab in (Lab.V1, Lab.V2))
    for old, new in zip(first, second, strict=True):
        assert old.name == new.name
        assert all(claim in new.study.claims for claim in old.study.claims), old.name
    claims = [claim for each in first_studies() for claim in each.study.claims]
    assert sum(LATE not in claim.paper for claim in claims) == 111
    # Only what is said in units of the first lab has a file of its own.
    own = sorted(file.name for file in (STUDIES / Lab.V1).iterdir())
    assert own == ["8-targets.toml", "9-rewards.toml", "base.toml"]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """The first lab's runs, as the repository keeps them."""
    kept = RESULTS / Lab.V1
    bench = StudyFolders(
        pool=StudyPool(kept / "pool"), records=kept, results=kept, runs=kept, keep=True
    )
    return gather(base_settings(lab=Lab.V1), first_studies(), bench, seeds=5)


def test_the_first_lab_s_runs_are_judged_as_they_were(evidence: Evidence) -> None:
    assert len(evidence.results) == 210
    studies = first_studies()
    judged = [each for study in studies for each in judge_study(evidence, study)]
    found = Counter(each.verdict for each in judged if LATE not in each.claim.paper)
    assert found == {
        ClaimVerdict.HOLDS: 53,
        ClaimVerdict.FAILS: 24,
        ClaimVerdict.OPPOSITE: 13,
        ClaimVerdict.UNKNOWN: 21,
    }
