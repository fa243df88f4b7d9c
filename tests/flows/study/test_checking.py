"""What a study is refused for before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core.errors import ConfigError
from tersely.core.types import Problem
from tersely.flows.study.checking import check_file, check_sources, check_studies
from tersely.flows.study.lab import Lab
from tersely.flows.study.plan import NamedStudy, base_settings, find_studies, read_study

ROOT = Path(__file__).parents[3]
HELD_OUT = 'statistic = "accuracy"'
OF = 'of = { arm = "same" }'


@pytest.mark.parametrize("lab", Lab)
def test_every_shipped_study_and_the_examples_are_accepted(lab: Lab) -> None:
    check_studies(base_settings(lab=lab), find_studies("all", lab))
    smollm2 = find_studies(str(ROOT / "examples" / "smollm2" / "study.toml"))
    check_studies(base_settings(own=smollm2[0].study.base), smollm2)


def refusal(file: Path, base: dict[str, Any], *changes: tuple[str, str]) -> str:
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        check_studies(base, [NamedStudy("small", read_study(file))])
    return str(caught.value)


def test_the_small_study_is_accepted(small: dict[str, object], study: NamedStudy) -> None:
    check_studies(small, [study])


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("problems.train = 'lab'", "set.problems.train = 'lab' cannot differ between arms; choose"),
        ("problems.test = 'lab'", "others with --benchmark"),
        (
            "problems.test_limit = 7",
            "set.problems.test_limit = 7 cannot differ between arms; set it",
        ),
        ("problems.band = [0.0, 1.0]", "choose prompts by pool"),
        ("model.path = 'lab-v2'", "another with --model"),
        ("seed = 7", "set.seed = 7 cannot differ between arms; give --seeds"),
        (
            "evaluation.budgets = [16, 32]",
            "set.evaluation.budgets ends at 32 tokens, and all arms are judged at the base's, up "
            "to 64; leave it out",
        ),
    ],
)
def test_an_arm_cannot_set_what_all_arms_share(
    setting: str, complaint: str, study_file: Path, small: dict[str, object]
) -> None:
    said = refusal(study_file, small, ('pool = "hard"', f"set.{setting}"))
    assert said.startswith("small: arm 'hard': set.")
    assert complaint in said


def test_an_arm_keeps_what_is_its_own(study_file: Path, small: dict[str, object]) -> None:
    own = "set = { problems = { sources = ['chains'], train_limit = 9 }, evaluation.samples = 8 }"
    study_file.write_text(study_file.read_text().replace('pool = "hard"', own))
    check_studies(small, [NamedStudy("small", read_study(study_file))])


@pytest.mark.parametrize("name", ['""', '" "', '"a\\nb"', '"a\\u2028b"'])
def test_an_arm_without_a_name_in_one_line_is_refused(
    name: str, study_file: Path, small: dict[str, object]
) -> None:
    said = refusal(study_file, small, ("[arms.hard]", f"[arms.{name}]"))
    assert "has no name that can be printed in a line; give it one" in said
    assert "\n" not in said


@pytest.mark.parametrize("forced", ["65", "'2.5 L_T'"])
def test_thinking_cannot_be_closed_where_nothing_is_sampled(
    forced: str, study_file: Path, small: dict[str, object]
) -> None:
    method = f"method = {{ name = 'none', forced = {forced} }}"
    said = refusal(study_file, small, ('pool = "hard"', method))
    assert said.startswith("small: arm 'hard': method.forced = ")
    assert "is above the largest of evaluation.budgets, 64; lower it" in said


def test_a_seed_of_the_base_is_refused(study: NamedStudy, small: dict[str, object]) -> None:
    said = "seed = 7 is no setting of a study, .* seeds 1 to --seeds; leave it out"
    with pytest.raises(ConfigError, match=said):
        check_studies({**small, "seed": 7}, [study])


@pytest.mark.parametrize(
    ("statistic", "more", "complaint"),
    [
        ("accuracy", 'budget = "L_X"', "budget = 'L_X' is no length; write 20, 'L_T' or '2 L_T'"),
        ("accuracy", 'budget = "1.2.3 L_R"', "budget = '1.2.3 L_R' is no length above 0"),
        ("accuracy", "budget = -5", "budget = -5 is below 1; give at least one token"),
        ("pass_at_k", "budget = 0", "budget = 0 is below 1"),
        (
            "accuracy",
            "budget = 65",
            "budget = 65 is above the largest of evaluation.budgets, 64, with which arm 'same' is",
        ),
        ("pass_at_k", 'budget = "3 L_T"', "budget = '3 L_T' (90 tokens) is above the largest"),
        ("pass_at_k", "k = 5", "k = 5 exceeds evaluation.samples = 4 of arm 'same'; lower it"),
        # The default is 8.
        ("pass_at_k", "", "k = 8 exceeds evaluation.samples = 4"),
        ("area", "least = 64", "least = 64 leaves 1 of evaluation.budgets = [16, 32, 64], and an"),
        ("area", "least = -3", "least = -3 is below 1"),
        ("area", "least = 0", "least = 0 is below 1"),
        ("area", 'least = "x"', "least = 'x' is no length"),
        ("curve", 'column = "lenght"', "there is no column 'lenght' of the results; choose one of"),
        # A column of StepRecord that no result keeps.
        ("curve", 'column = "grad_norm"', "there is no column 'grad_norm' of the results"),
        ("tokens", 'budget = "L_R"', "budget = 'L_R' is of accuracy, pass_at_k, not of tokens;"),
        ("accuracy", "k = 2", "k = 2 is of pass_at_k, not of accuracy; leave it out"),
        ("accuracy", 'column = "accuracy"', "column = 'accuracy' is of curve, not of accuracy"),
        ("curve", 'where = "easy"', "where = 'easy' is of accuracy, pass_at_k, area, tokens, not"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused_before_anything_is_trained(
    statistic: str, more: str, complaint: str, study_file: Path, small: dict[str, object]
) -> None:
    said = refusal(study_file, small, (HELD_OUT, f'statistic = "{statistic}"\n{more}'))
    assert said.startswith("small: claim 'an arm is like itself': ")
    assert complaint in said


@pytest.mark.parametrize(
    ("statistic", "side", "complaint"),
    [
        (
            "curve",
            "moment = 0.0",
            "of.moment = 0.0 is of accuracy, pass_at_k, area, tokens, not of",
        ),
        ("accuracy", "steps = [0.5, 0.6]", "of.steps = (0.5, 0.6) is of curve, not of accuracy"),
        ("curve", "steps = [-3.0, 7.0]", "of.steps = [-3, 7] are no shares of the run that rise"),
        ("curve", "steps = [0.6, 0.5]", "of.steps = [0.6, 0.5] are no shares of the run"),
    ],
)
def test_a_side_that_cannot_be_looked_at_is_refused(
    statistic: str, side: str, complaint: str, study_file: Path, small: dict[str, object]
) -> None:
    changes = ((HELD_OUT, f'statistic = "{statistic}"'), (OF, f'of = {{ arm = "same", {side} }}'))
    said = refusal(study_file, small, *changes)
    assert said.startswith("small: claim 'an arm is like itself': ")
    assert complaint in said


def test_a_budget_is_held_against_what_each_arm_is_evaluated_at(
    study_file: Path, small: dict[str, object]
) -> None:
    wider = "set.evaluation.budgets = [16, 32, 64, 128]\n" + 'set.reward = { name = "truncation" }'
    said = refusal(
        study_file,
        small,
        ('set.reward = { name = "truncation" }', wider),
        (HELD_OUT, f"{HELD_OUT}\nbudget = 128"),
    )
    assert "evaluation.budgets, 64, with which arm 'plain' is evaluated" in said


def test_a_source_that_no_held_out_problem_is_of_is_refused(study_file: Path) -> None:
    text = study_file.read_text().replace(HELD_OUT, f'{HELD_OUT}\nwhere = "mars"')
    study_file.write_text(text)
    studies = [NamedStudy("small", read_study(study_file))]
    problems = [Problem(id="p", prompt="?", answer="1", source="mars")]
    check_sources(studies, problems)
    said = "small: claim 'an arm is like itself': where: there is no source 'mars' of held-out"
    with pytest.raises(ConfigError, match=f"{said} problems; choose one of easy, hard, chains"):
        check_sources(studies, [Problem(id="p", prompt="?", answer="1", source="chains")])


@pytest.mark.parametrize("name", ["results", "work", "all", "two-stages"])
def test_a_file_whose_report_would_lie_in_another_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}.toml: .*folder '{name}' of --out.*; rename the"):
        check_file(Path("here") / f"{name}.toml")
    check_file(Path("mine.toml"))


def test_the_command_refuses_before_it_trains(study_text: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "results.toml", tmp_path / "small.toml"
    good.write_text(study_text)
    bad.write_text(study_text.replace(HELD_OUT, f'{HELD_OUT}\nbudget = "L_X"'))
    shipped = ["two-stages", "--set", "seed=7"]
    for words, complaint in (
        ([str(good)], "rename the file"),
        ([str(bad)], "budget = 'L_X' is no length"),
        (shipped, "seed = 7 is no setting of a study"),
    ):
        for more in (["--dry-run"], []):
            done = CliRunner().invoke(app, ["study", *words, "--out", str(tmp_path / "out"), *more])
            assert done.exit_code == 2, done.output
            assert complaint in " ".join(done.stderr.split())
            assert not (tmp_path / "out").exists()
