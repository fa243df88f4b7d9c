"""The Python interface: what is public, that it computes what the commands do, and what it says."""

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import tersely
from tersely import rewards, surface
from tersely.algo import advantages
from tersely.cli import app
from tersely.core import lookup
from tersely.core.types import GroupView
from tersely.readers.sweeps import SweepKind, SweepLevel, SweepRecord, write_sweep
from tersely.wording import in_python

HERE = Path(__file__).parent
SIGNATURES = HERE / "surface.txt"
# Other fields of it may change.
FIELDS = {
    "Loaded": ("name", "protocol", "budgets", "notes", "facts"),
    "LoadedSweep": ("name", "levels", "notes"),
}
RUN = HERE / "fixtures" / "before_h" / "run"
EVALUATION = HERE / "fixtures" / "before_h" / "evaluation"
FIRST, LAST = (RUN / "eval" / f"step-00000{step}.jsonl" for step in (0, 2))
VERL = HERE / "readers" / "fixtures" / "verl" / "10.jsonl"
TRL = HERE / "readers" / "fixtures" / "trl" / "completions_00002.parquet"
INSPECT_LOG = HERE / "readers" / "fixtures" / "inspect_ai" / "lab.eval"


def call(*words):
    done = CliRunner().invoke(app, [*map(str, words), "--quiet"])
    assert done.exit_code == 0, done.output
    return done.stdout


def python(code):
    """What a fresh interpreter prints, where no type checker of the tests is at work."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=HERE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def described():
    """A line for each public name: a function's signature, a type's fields."""
    for name in tersely.__all__:
        public = getattr(tersely, name)
        if inspect.isfunction(public):
            # Python 3.13 says where it hides Path.
            yield f"{name}{inspect.signature(public)}".replace("pathlib._local.", "pathlib.")
        else:
            fields = FIELDS.get(name, getattr(public, "_fields", ()))
            assert all(hasattr(public, field) for field in fields)
            yield f"{name}: {', '.join(fields)}".rstrip(": ")


def test_no_public_signature_changed():
    """Scripts of users rest on these: a line goes only with a note in the changelog."""
    assert list(described()) == SIGNATURES.read_text().splitlines()


def test_the_package_offers_what_the_surface_defines_and_no_more():
    defined = {
        name
        for name, value in vars(surface).items()
        if inspect.isfunction(value)
        and value.__module__ == surface.__name__
        and not name.startswith("_")
    }
    assert defined == {
        name for name in tersely.__all__ if inspect.isfunction(getattr(tersely, name))
    }
    assert {*tersely.__all__, "__version__"} == set(dir(tersely))
    with pytest.raises(AttributeError, match="no attribute 'evaluate'"):
        _ = tersely.evaluate


def test_every_public_function_documents_its_arguments():
    for name in tersely.__all__:
        text = inspect.getdoc(getattr(tersely, name))
        assert text, name


def test_importing_the_package_loads_nothing_and_no_function_loads_torch():
    code = f"""
import sys
import tersely
heavy = {{"numpy", "polars", "altair", "pydantic", "torch"}}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
before, after = tersely.load({str(FIRST)!r}), tersely.load({str(LAST)!r})
tersely.figures(before), tersely.compare(before, after), tersely.conclude(before, after)
tersely.diagnose({str(RUN)!r}), tersely.draw(before), tersely.draw(before, after)
tersely.draw({str(RUN)!r}), tersely.lint("demo", {str(EVALUATION)!r})
tersely.reward("kimi", correct=[1], tokens=[2])
tersely.advantage("group_normalised", rewards=[1, 0])
print([name for name in ("torch", "transformers") if name in sys.modules])
"""
    assert python(code) == "[]\n"


@pytest.mark.parametrize("words", [(FIRST,), (INSPECT_LOG, "--from", "inspect_ai")])
def test_the_figures_of_an_evaluation_are_those_of_the_report(tmp_path, words):
    words = *words, "--json", "--out", tmp_path, "--csv", tmp_path / "f.csv"
    document = json.loads(call("report", *words))
    frame = tersely.figures(words[0])
    assert frame.to_dicts() == [{k: row[k] for k in frame.columns} for row in document["figures"]]
    table = pl.read_csv(tmp_path / "f.csv")
    assert table["estimate"].to_list() == frame["estimate"].to_list()


def test_a_comparison_has_the_figures_and_the_sentences_of_the_command(tmp_path):
    document = json.loads(call("compare", FIRST, LAST, "--json", "--out", tmp_path))
    frame = tersely.compare(FIRST, LAST)
    assert frame.to_dicts() == [{k: row[k] for k in frame.columns} for row in document["figures"]]
    assert tersely.conclude(FIRST, LAST) == [
        *document["warning"],
        *document["conclusions"],
        *document["notes"],
    ]


def test_a_diagnosis_and_lint_are_those_of_the_commands():
    document = json.loads(call("diagnose", RUN, "--json"))
    found = tersely.diagnose(RUN)
    assert found.stage == document["stage"]
    assert found.unknown == [in_python(said) for said in document["unknown"]]
    document = json.loads(call("lint", "demo", "--records", EVALUATION, "--json"))
    said = [{key: in_python(text) for key, text in row.items()} for row in document["findings"]]
    assert tersely.lint("demo", EVALUATION).to_dicts() == said


def test_what_is_undefined_is_null_and_never_nan():
    frame = tersely.figures(FIRST)
    # Nothing was cut, so that cut samples have no mean length.
    assert frame.filter(name="mean tokens given truncated")["estimate"].to_list()[0] is None
    assert not any(frame.select(pl.selectors.float().is_nan().any()).row(0))


def test_a_chart_is_the_picture_of_the_report():
    from tersely.flows.evaluate.measuring import measure_loaded
    from tersely.report.pages.evaluation import draw_figures

    loaded = tersely.load(FIRST)
    drawn = {f.name: f.spec for f in draw_figures(loaded, measure_loaded(loaded))}
    chart = tersely.draw(loaded, picture="lengths").to_dict()
    assert chart["datasets"] == drawn["lengths"]["datasets"]
    assert "(protocol finished)" in chart["title"]["text"]
    assert chart["title"]["subtitle"]
    assert "text/html" in tersely.draw(RUN)._repr_mimebundle_()


def test_kimi_on_plain_arrays_is_the_formula():
    # Lengths 10, 20, 30: s = 0.5, 0, -0.5. Right: 1 + 0.4 s; wrong: min(0, 0.4 s).
    paid = tersely.reward("kimi", correct=[1, 1, 0], tokens=[10, 20, 30], alpha=0.4)
    np.testing.assert_allclose(paid, [1.2, 1.0, -0.2])


def test_every_reward_of_labelled_groups_in_any_order_is_that_of_each_group():
    rng = np.random.default_rng(0)
    label_N = pl.Series(rng.permutation(np.repeat(["c", "a", "b"], [4, 1, 7])))
    tokens_N, correct_N = rng.integers(1, 90, 12), rng.random(12) < 0.5
    order = list(dict.fromkeys(label_N))
    reference = {"c": 20.0, "a": 30.0, "b": 40.0}
    given = {"target_tokens": 50, "cap_tokens": 80, "reference_accuracy": 0.5}

    tokens_N = np.minimum(tokens_N, 80)
    for name in rewards.available():
        paid_N = tersely.reward(
            name,
            correct=correct_N,
            tokens=tokens_N,
            groups=label_N,
            reference_tokens=[reference[label] for label in order],
            thought=tokens_N > 3,
            thinking_tokens=tokens_N // 2,
            first_right_tokens=tokens_N,
            target_weight=0.01,
            **given,
        )
        for label in order:
            at = (label_N == label).to_numpy()
            view = GroupView(
                correct_G=correct_N[at],
                tokens_G=tokens_N[at],
                finished_G=tokens_N[at] < 80,
                formatted_G=np.ones(at.sum(), dtype=bool),
                reference_tokens=reference[label],
                thought_G=tokens_N[at] > 3,
                thinking_G=tokens_N[at] // 2,
                first_right_G=tokens_N[at],
                weight=0.01,
                **{key: float(value) for key, value in given.items()},
            )
            np.testing.assert_array_equal(paid_N[at], rewards.load(name)(view), err_msg=name)


def test_tensors_are_arrays_too():
    torch = pytest.importorskip("torch")
    given = {"correct": torch.tensor([True, False, True]), "tokens": torch.tensor([3, 4, 9])}
    labels = torch.tensor([5, 7, 5])
    # Lengths 3 and 9 are 0.5 and -0.5 of one group; 4 is alone in its own.
    np.testing.assert_allclose(tersely.reward("kimi", **given, groups=labels), [1.2, 0.0, 0.8])


def test_rows_of_a_table_are_groups():
    table = np.array([[1, 0, 0, 0], [1, 1, 1, 0]])
    # One success of four: mean 1/4, std sqrt(3)/4, so 3/4 over it is sqrt(3). Three of four: mean
    # 3/4, the same std, 1/4 over it is 1/sqrt(3).
    found = tersely.advantage("group_normalised", rewards=table)
    assert found.shape == table.shape
    np.testing.assert_allclose(found[:, 0], [np.sqrt(3), 1 / np.sqrt(3)])
    flat = tersely.advantage("group_normalised", rewards=table.ravel(), groups=[0] * 4 + [1] * 4)
    np.testing.assert_array_equal(found.ravel(), flat)


def test_a_masked_rollout_has_no_advantage_and_counts_in_no_mean():
    found = tersely.advantage("group_centred", rewards=[1, 0, 9], keep=[True, True, False])
    np.testing.assert_array_equal(found, [0.5, -0.5, 0.0])
    # Counted in the mean, which is 10/3.
    among = tersely.advantage(
        "group_centred", rewards=[1, 0, 9], keep=[True, True, False], mask_scope="loss-only"
    )
    np.testing.assert_allclose(among, [1 - 10 / 3, -10 / 3, 0.0])


def test_a_setting_that_is_called_like_an_argument_can_be_given_in_a_dict():
    # laser_d pays a right rollout beyond the target its setting ``correct``, 1 by default.
    given = {"correct": [1], "tokens": [90], "target_tokens": 50}
    assert tersely.reward("laser_d", **given) == [1.0]
    assert tersely.reward("laser_d", **given, settings={"correct": 2.0}) == [2.0]
    taken = {*inspect.signature(tersely.advantage).parameters, "settings"}
    for name in advantages.available():
        known = lookup.parameters(advantages.load(name), given=advantages.GIVEN)
        assert not taken & known.keys(), name


WRONG = {
    "tersely.load(3)": "path = 3 is not a path",
    "tersely.load('')": "path is empty",
    "tersely.load(FIRST, cap_tokens=0)": "cap_tokens = 0 must be 1 to 2**53; write cap_tokens=4096",
    "tersely.load(FIRST, cap_tokens=2**70)": "must be 1 to 2**53",
    "tersely.load(FIRST, budgets=[2**70])": "above 2**53",
    "tersely.load(FIRST, by_row='no')": "by_row = 'no' is not True or False",
    "tersely.load(FIRST, by_row=1)": "by_row = 1 is not True or False",
    "tersely.load(FIRST, run='x')": "run chooses one of a step log",
    "tersely.load(FIRST, columns={'tokens': 3})": "holds 3; give names of columns",
    "tersely.load(FIRST, columns={3: 'tokens'})": "holds 3; give names of columns",
    "tersely.load(FIRST, benchmark_name=3)": "benchmark_name = 3 is not a name",
    "tersely.load(FIRST, benchmark_name='b')": "benchmark_name is for files of other tools",
    "tersely.load(FIRST, only_model=['m'])": "only_model = ['m'] is not a name",
    "tersely.load(FIRST, regrade=['math'])": "regrade = ['math'] is not a name",
    "tersely.load(RUN, run=2)": "run = 2 is not a name",
    "tersely.load('a' * 5000)": "cannot be looked up: File name too long",
    "tersely.load('~nobody-of-that-name/x')": "cannot be looked up",
    "tersely.load(tersely.figures(FIRST))": "path = <DataFrame> is not a path",
    "tersely.load(TABLE, protocol='forced')": 'protocol="forced" needs graded prefixes',
    "tersely.load(TABLE, cap_tokens=2)": "but cap_tokens says",
    "tersely.load(TABLE, budget_of='turns')": "or leave budget_of at tokens",
    "tersely.load('a\\0b')": "path = 'a\\x00b' cannot be looked up",
    "tersely.load(LOOP)": "cannot be looked up: Symlink loop",
    "tersely.diagnose(LOOP)": "cannot be looked up: Symlink loop",
    "tersely.diagnose(ROWS)": "has no column of steps (step, global_step",
    "tersely.diagnose(EMPTY)": "empty.csv is empty; give a run folder, trainer_state.json",
    "tersely.load(EMPTY)": "empty.csv is empty; give a file that holds samples or steps",
    "tersely.diagnose(BINARY)": "is a binary file, no step log",
    "tersely.diagnose(EVALUATION)": "log is an evaluation",
    "tersely.diagnose('nowhere')": "no step log at nowhere",
    "tersely.diagnose(RUN, source='lighteval')": "there is no source 'lighteval'; choose one of",
    "tersely.load(SHEET, source='table')": "JSON lines, JSON or Parquet, not from CSV",
    "tersely.load('nowhere')": "there is no nowhere",
    "tersely.load(FIRST, 'lighteva')": "did you mean 'lighteval'?",
    "tersely.load(FIRST, 5)": "source = 5 is not the name of a tool",
    "tersely.load(FIRST, columns=['a'])": "columns = ['a'] is not a dict",
    "tersely.load(FIRST, budgets='2048')": "write budgets=[1024, 4096]",
    "tersely.load(FIRST, budgets=[0.5])": "no list of whole numbers",
    "tersely.load(FIRST, protocol='finish')": "did you mean 'finished'?",
    "tersely.load(FIRST, cap_tokens='4k')": "cap_tokens = '4k' is not a whole number of tokens",
    "tersely.load(FIRST, regrade='maths')": "did you mean 'math'?",
    "tersely.load(FIRST, budget_of='steps')": "there is no budget_of 'steps'",
    "tersely.load(VERL)": "give the model's tokenizer with tokenizer",
    "tersely.load(TRL)": 'say which holds the verdict with columns={"correct": "NAME"}',
    "tersely.load(VERL, 'lm_eval')": "is source right?",
    "tersely.load(LAST, 'lighteval')": 'read it with source="table"',
    "tersely.lint('demo', VERL)": "with tokenizer",
    "tersely.load(RUN, budgets=[8])": "is a step log, which budgets does not apply to",
    "tersely.figures(RUN)": "evaluation is a step log",
    "tersely.figures(None)": "evaluation = None is not a path",
    "tersely.figures(FIRST, k=[99])": "give a smaller k or resample with tersely eval --samples 99",
    "tersely.figures(FIRST, k=0)": "write k=[1, 4]",
    "tersely.figures(tersely.load(FIRST, budgets=[10**6]))": "budget 1000000 exceeds sampled cap",
    "tersely.compare(FIRST, RUN)": "evaluation 2 is a step log",
    "tersely.compare()": "compare takes two evaluations or more, and was given 0",
    "tersely.conclude(FIRST)": "conclude takes two evaluations or more, and was given 1; for the",
    "tersely.compare([FIRST, LAST])": "unpack it with a star: compare(*evaluations)",
    "tersely.conclude((FIRST, LAST))": "unpack it with a star: conclude(*evaluations)",
    "tersely.load(FIRST, budgets=[8, 10**6])": "budget 1000000 exceeds sampled cap",
    "tersely.load(TABLE, budgets=[20], cap_tokens=10)": "exceeds sampled cap 10, above which",
    "tersely.reward('kimi', correct=None, tokens=[1])": "correct is None; give the verdict of each",
    "tersely.compare(FIRST, LAST, 3)": "evaluation 3 = 3 is not a path",
    "tersely.diagnose(RUN, staleness=0)": "staleness = 0 must be at least 1",
    "tersely.diagnose(RUN, staleness='4')": "staleness = '4' is not a number of updates",
    "tersely.compare(FIRST, LAST, pair_by='name')": "there is no pair_by 'name'",
    "tersely.diagnose(FIRST)": "log is an evaluation",
    "tersely.diagnose(tersely.load(RUN), source='wandb')": "log is loaded already; give source to",
    "tersely.diagnose(tersely.load(RUN), run='1')": "log is loaded already; give run to load",
    "tersely.diagnose([1, 2])": "log = [1, 2] is not a path",
    "tersely.lint('demoo', FIRST)": "demoo",
    "tersely.lint('demo', RUN)": "is a step log",
    "tersely.lint('demo', tersely.load(FIRST))": "give lint its path",
    "tersely.lint('demo', FIRST, overrides='a=1')": "overrides = 'a=1' is no list",
    "tersely.lint('demo', FIRST, tokens_per_second=-1)": "tokens_per_second = -1 must be above 0",
    "tersely.draw(FIRST, picture='length')": "did you mean 'lengths'?",
    "tersely.lint('demo', FIRST, overrides=[3])": "overrides = [3] is no list of settings",
    "tersely.lint('demo', FIRST, overrides=None)": "overrides = None is no list of settings",
    "tersely.lint('demo', FIRST, overrides={'a.b': 1})": "is no list of settings",
    "tersely.lint('demo', FIRST, overrides=['target'])": "override 'target' is not section.key",
    "tersely.lint('demo', FIRST, tokens_per_second=float('inf'))": "must be above 0 and finite",
    "tersely.draw(FIRST, picture=['lengths'])": "picture = ['lengths'] is not a picture's name",
    "tersely.draw(3)": "data = 3 is not a path",
    "tersely.reward('kimmi', correct=[1], tokens=[1])": "did you mean 'kimi'?",
    "tersely.reward(7, correct=[1], tokens=[1])": "name = 7 is not a reward's name",
    "tersely.reward('kimi', correct=[1], tokens=[1], alhpa=1)": "did you mean 'alpha'?",
    "tersely.reward('kimi', correct=[1], tokens=[1], alpha=9)": "reward.alpha = 9 is above 2",
    "tersely.reward('kimi', correct=[1], tokens=[1], alpha='x')": "must be of type float",
    "tersely.reward('kimi', correct=[1, 0], tokens=[1])": "correct has the shape (2,)",
    "tersely.reward('kimi', correct=[], tokens=[])": "tokens has the shape (0,)",
    "tersely.reward('kimi', correct=[float('nan')], tokens=[1])": "it is not wrong",
    "tersely.reward('kimi', correct=[None], tokens=[1])": "correct holds NoneType",
    "tersely.reward('kimi', correct=['yes'], tokens=[1])": "correct holds",
    "tersely.reward('kimi', correct=[1], tokens=[0])": "whole numbers of tokens from 1 on",
    "tersely.reward('kimi', correct=[1], tokens=[1.5])": "whole numbers of tokens",
    "tersely.reward('kimi', correct=[1], tokens=[True])": "whole numbers of tokens",
    "tersely.reward('kimi', correct=[1], tokens=['9'])": "tokens holds",
    "tersely.reward('kimi', correct=[[1], [1, 0]], tokens=[[1], [1, 2]])": "is no array",
    "tersely.reward('kimi', correct=[1], tokens=[9], cap_tokens=8)": "above cap_tokens = 8",
    "tersely.reward('kimi', correct=[1], tokens=[9], cap_tokens='8')": "cap_tokens = '8'",
    "tersely.reward('kimi', correct=[1, 0], tokens=[1, 2], groups=[])": "groups must be a flat",
    "tersely.reward('kimi', correct=[1], tokens=[1], groups=[[1]])": "groups has a label that",
    "tersely.reward('kimi', correct=[1], tokens=[1], groups='ab')": "groups must be a flat list",
    "tersely.reward('kimi', correct=[1], tokens=[1], groups=3)": "groups must be a flat list",
    "tersely.reward('truncation', correct=[1], tokens=[9])": "needs target_tokens; give it",
    "tersely.reward('truncation', correct=[1], tokens=[9], target_tokens=-1)": "-1",
    "tersely.advantage('group_normalized', rewards=[1])": "did you mean 'group_normalised'?",
    "tersely.advantage('decoupled', rewards=[1, 0])": "decoupled needs correct",
    "tersely.advantage('group_centred', rewards=[1, float('inf')])": "not finite",
    "tersely.advantage('group_centred', rewards=[1], mask_scope='all')": "mask_scope = 'all'",
    "tersely.trl_hooks('nowhere.toml')": "nowhere.toml",
}


def sweep_of(folder):
    """Three levels of the same evaluation, and one that failed."""
    names = ("low", "medium", "high")
    for name in names:
        shutil.copytree(EVALUATION, folder / name)
    levels = [SweepLevel(name=name) for name in names]
    levels.append(SweepLevel(name="max", refused="out of memory"))
    write_sweep(folder, SweepRecord(kind=SweepKind.EFFORTS, levels=tuple(levels)))
    return folder


def test_a_sweep_is_its_levels(tmp_path):
    sweep = tersely.load(sweep_of(tmp_path / "efforts"))
    assert repr(sweep) == "<sweep efforts: low, medium, high>"
    assert sweep.notes == ("The level max failed and is left out (out of memory).",)
    assert isinstance(sweep.levels[0], tersely.Loaded)
    frame = tersely.figures(sweep)
    assert frame["evaluation"].unique(maintain_order=True).to_list() == ["low", "medium", "high"]
    of_low = frame.filter(evaluation="low").drop("evaluation")
    assert of_low.equals(tersely.figures(sweep.levels[0]))
    assert tersely.compare(sweep).equals(tersely.compare(*sweep.levels))
    chart = tersely.draw(sweep, picture="levels").to_dict()
    assert chart["title"]["text"] == "Accuracy over the tokens that samples took"
    with pytest.raises(tersely.ConfigError, match="log is a sweep"):
        tersely.diagnose(sweep)


def test_three_are_compared_as_by_the_command(tmp_path):
    sides = [
        shutil.copy(file, tmp_path / name)
        for file, name in ((FIRST, "a.jsonl"), (LAST, "b.jsonl"), (FIRST, "c.jsonl"))
    ]
    call("compare", *sides, "--out", tmp_path, "--csv", tmp_path / "f.csv")
    frame = tersely.compare(*sides)
    table = pl.read_csv(tmp_path / "f.csv", infer_schema_length=None)
    assert frame.columns[:3] == ["evaluation", "name", "side"]
    assert frame["evaluation"].to_list() == table["evaluation"].to_list()
    assert frame["estimate"].to_list() == table["estimate"].to_list()
    said = tersely.conclude(*sides)
    assert [line for line in said if " b takes " in line or ": b " in line]
    assert [line for line in said if " c takes " in line or ": c " in line]
    assert tersely.draw(*sides).to_dict()["title"]["text"].startswith("Accuracy against")
    assert tersely.draw(*sides, picture="budgets-2").to_dict()["title"]["text"].endswith("a → c")


def test_evaluations_of_one_name_are_called_by_their_folders_as_by_the_command(tmp_path):
    for name in ("one", "two", "three"):
        shutil.copytree(EVALUATION, tmp_path / name / "eval")
    frame = tersely.compare(*(tmp_path / name / "eval" for name in ("one", "two", "three")))
    assert set(frame["evaluation"]) == {"one-eval", "two-eval", "three-eval"}


def test_settings_beside_a_table_are_no_second_table(tmp_path):
    rows = {"problem": ["a"], "correct": [1], "tokens": [5], "cap_tokens": [10]}
    pl.DataFrame(rows).write_ndjson(tmp_path / "samples.jsonl")
    (tmp_path / "config.json").write_text('{\n  "model_type": "qwen2",\n  "layers": [1]\n}\n')
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{"id": 0}], "model": {}}')
    (tmp_path / "tags.json").write_text('["math", "terse"]')
    assert tersely.load(tmp_path).name == "samples"
    pl.DataFrame({key: each * 2 for key, each in rows.items()}).write_ndjson(tmp_path / "more.json")
    with pytest.raises(tersely.ConfigError, match=r"holds 2 files, more.json, samples.jsonl"):
        tersely.load(tmp_path)


def test_what_is_loaded_equals_itself_alone():
    for path in (FIRST, RUN):
        loaded = tersely.load(path)
        assert loaded == loaded
        assert loaded != tersely.load(path)
        assert {loaded: 1}[loaded] == 1


def test_numbers_of_numpy_are_numbers():
    code = f"""
import numpy as np
import tersely
rate = np.float32(100)
slow, plain = (tersely.lint("demo", {str(EVALUATION)!r}, tokens_per_second=n) for n in (rate, 100))
print(slow.equals(plain), tersely.load({str(FIRST)!r}, budgets=np.array([8, 16])).budgets)
"""
    assert python(code) == "True (8, 16)\n"


def test_wrong_arguments_are_refused_in_one_sentence(tmp_path):
    rows = {"problem": ["a"], "correct": [1], "tokens": [5], "cap_tokens": [10]}
    pl.DataFrame(rows).write_parquet(table := tmp_path / "base.parquet")
    (loop := tmp_path / "loop").symlink_to(loop)
    (rows := tmp_path / "rows.jsonl").write_text('{"reward": 1, "length": 9}\n' * 3)
    (empty := tmp_path / "empty.csv").write_text(" \n")
    (sheet := tmp_path / "sheet.csv").write_text("problem,correct,tokens\na,1,9\n")
    (binary := tmp_path / "binary").write_bytes(bytes(90) + b"steps")
    code = f"""
import json
import tersely
LOOP, ROWS, EMPTY, BINARY = {str(loop)!r}, {str(rows)!r}, {str(empty)!r}, {str(binary)!r}
EVALUATION, SHEET = {str(EVALUATION)!r}, {str(sheet)!r}
FIRST, LAST, RUN = {str(FIRST)!r}, {str(LAST)!r}, {str(RUN)!r}
VERL, TRL, TABLE = {str(VERL)!r}, {str(TRL)!r}, {str(table)!r}
said = {{}}
for call in {list(WRONG)!r}:
    try:
        said[call] = f"went through: {{eval(call)!r}}"
    except tersely.TerselyError as error:
        said[call] = str(error)
    except Exception as error:
        said[call] = f"{{type(error).__name__}}: {{error}}"
print(json.dumps(said))
"""
    said = json.loads(python(code))
    assert {call: text for call, text in said.items() if WRONG[call] not in text} == {}
    assert not [text for text in said.values() if "\n" in text or "Error:" in text]
