from pathlib import Path

import pytest

from tersely.core.errors import ConfigError, TerselyWarning
from tersely.flows.recipe.recipe import (
    NamedSection,
    Recipe,
    as_toml,
    check_recipe,
    read_recipe,
    shipped,
)
from tersely.flows.recipe.settings import differences
from tersely.tasks.grading import load as load_grader

TINY = Path(__file__).parents[1] / "tiny.toml"
RECIPES = sorted(shipped("demo").parent.glob("*.toml"))
EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))


def tiny(*overrides: str) -> Recipe:
    return read_recipe(TINY, overrides=overrides)


def first_difference(ours: Recipe, theirs: Recipe) -> str | None:
    found = [
        f"{key} is {here!r} here and {there!r} there"
        for key, here, there in differences(ours, theirs)
    ]
    return found[0] if found else None


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        tiny(*overrides)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", [*RECIPES, *EXAMPLES], ids=lambda path: path.stem)
def test_every_recipe_we_ship_is_accepted(path: Path) -> None:
    assert read_recipe(path).learner.steps > 0


@pytest.mark.parametrize(
    ("override", "key", "siblings"),
    [
        ("learner.lerning_rate=1e-3", "learner.lerning_rate = 0.001", ["learning_rate", "steps"]),
        ("sampling.max_tokens=9", "sampling.max_tokens = 9", ["cap_tokens", "samples_per_prompt"]),
        ("problems.Band=[1, 2]", "problems.Band = [1, 2]", ["band", "train", "test"]),
        ("sede=3", "sede = 3", ["seed", "model", "checkpoint"]),
        ("track={to=['wandb'], too=1}", "track.too = 1", ["to", "project", "name"]),
        ("filter={name='gfpo', keep=2, kep=3}", "filter.kep = 3", ["keep", "by"]),
        ("learn.steps=3", "learn = {'steps': 3}", ["learner"]),
        ("learner..steps=3", "learner. = {'steps': 3}", ["steps"]),
    ],
)
def test_an_unknown_key_is_named_with_its_known_siblings(
    override: str, key: str, siblings: list[str]
) -> None:
    message = refusal(override)
    assert message.startswith("there is no recipe key ")
    assert message.endswith(f", or leave out {key}")
    known = message.partition("choose one of ")[2].split(", ")
    assert set(siblings) <= {each.rpartition(".")[2] for each in known}


def without(key: str) -> dict[str, object]:
    """The tiny recipe's settings but for one."""
    settings = tiny().model_dump(exclude_none=True)
    *sections, last = key.split(".")
    inner = settings
    for section in sections:
        inner = inner[section]
    del inner[last]
    return settings


@pytest.mark.parametrize(
    "key",
    [
        "sampling",
        "reward",
        "learner",
        "sampling.cap_tokens",
        "sampling.samples_per_prompt",
        "learner.learning_rate",
        "evaluation.budgets",
        "target.name",
    ],
)
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ConfigError, match=f"^recipe key {key} is missing; add it$"):
        check_recipe(without(key))


@pytest.mark.parametrize("key", ["seed", "model", "problems", "problems.band", "checkpoint"])
def test_a_key_with_a_default_may_be_missing(key: str) -> None:
    assert check_recipe(without(key)).seed == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learner.steps='12'", "learner.steps = '12' is not a whole number"),
        ("learner.steps=3.0", "learner.steps = 3.0 is not a whole number"),
        ("learner.steps=many", "learner.steps = 'many' is not a whole number"),
        ("seed=true", "seed = True is not a whole number"),
        (
            "learner.learning_rate='x'",
            "learner.learning_rate = 'x' is not a number",
        ),
        (
            "learner.learning_rate=nan",
            "learner.learning_rate = nan is not finite",
        ),
        (
            "learner.max_grad_norm=inf",
            "learner.max_grad_norm = inf is not finite",
        ),
        ("model.path=7", "model.path = 7 is not a text"),
        (
            "model.gradient_checkpointing=1",
            "gradient_checkpointing = 1 is not one of true and false",
        ),
        ("problems.sources=lab", "problems.sources = 'lab' must be a list, ['lab']"),
        ("problems.band=[1, '2']", "problems.band.1 = '2' is not a number"),
        ("evaluation.budgets=[4, 8.5]", "evaluation.budgets.1 = 8.5 is not a whole number"),
        ("reward=truncation", "reward = 'truncation' is a value; it must be a section, [reward]"),
        ("sampling=3", "sampling = 3 is a value; it must be a section, [sampling]"),
        ("target.tokens=9.5", "target.tokens = 9.5 must be of type int"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_the_right_one(override: str, message: str) -> None:
    assert message in refusal(override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampling.samples_per_prompt=1", "prompt = 1 is below 2; set "),
        ("sampling.prompts_per_step=0", "step = 0 is below 1; set "),
        ("sampling.temperature=0", "temperature = 0 is not above 0; set "),
        ("sampling.top_p=1.5", "top_p = 1.5 is above 1; set "),
        ("sampling.top_k=-1", "top_k = -1 is below 0; set "),
        ("loss.clip_low=2", "clip_low = 2 is above 1; set "),
        ("loss.kl_coef=-0.1", "kl_coef = -0.1 is below 0; set "),
        ("learner.learning_rate=0", "learning_rate = 0 is not above 0; set "),
        ("learner.steps=0", "steps = 0 is below 1; set "),
        ("seed=-1", "seed = -1 is below 0; set "),
        ("evaluation.budgets=[]", "evaluation.budgets = []"),
        ("evaluation.budgets=[0, 8]", "budgets.0 = 0 is below 1; set "),
        ("problems.sources=[]", "problems.sources = []"),
        ("problems.test_limit=0", "test_limit = 0 is below 1; set "),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_named_with_its_bound(override: str, message: str) -> None:
    assert message in refusal(override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["target.tokens=49"],
            "target.tokens = 49 (L_T) exceeds sampling.cap_tokens = 48 (L_R), so no rollout could "
            "be too long; set target.tokens <= 48",
        ),
        (
            ["learner.staleness=5"],
            "learner.staleness = 5 exceeds sampling.prompts_per_step = 4; "
            "every update needs a whole group",
        ),
        (["problems.band=[3, 1]"], "problems.band = [3, 1] runs backwards; swap its ends"),
        (["evaluation.budgets=[8, 4]"], "evaluation.budgets = [8, 4] do not rise; set [4, 8]"),
        (["evaluation.budgets=[4, 4]"], "evaluation.budgets = [4, 4] do not rise; set [4]"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    overrides: list[str], message: str
) -> None:
    assert refusal(*overrides) == message


@pytest.mark.parametrize(
    "overrides",
    [
        ["target.tokens=48"],
        ["learner.staleness=4"],
        ["problems.band=[3, 3]"],
        ["sampling.samples_per_prompt=2"],
        ["learner.learning_rate=1"],
        ["evaluation.budgets=[480]"],
    ],
)
def test_the_bounds_themselves_are_allowed(overrides: list[str]) -> None:
    assert tiny(*overrides) != tiny()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "reward.name=trunkation",
            ["reward.name: there is no reward 'trunkation'", "correctness, cosine"],
        ),
        ("target.name=fix", ["target.name: there is no target 'fix'", "fixed"]),
        ("reward.alpha=0.1", ["reward truncation", "alpha = 0.1", "there are none"]),
        ("reward.alpha.beta=0.1", ["reward truncation", "alpha = {'beta': 0.1}"]),
        ("target.tokns=20", ["target fixed", "tokns = 20", "did you mean 'tokens'?"]),
        ("target.tokens=0", ["target.tokens = 0", "set target.tokens >= 1"]),
    ],
)
def test_unknown_rewards_targets_and_parameters_are_named(override: str, words: list[str]) -> None:
    message = refusal(override)
    for word in words:
        assert word in message


def test_a_parameter_that_is_needed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"target fixed needs target\.tokens; set it"):
        check_recipe(without("target.tokens"))


def test_an_unknown_grader_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"no grader 'maths'; did you mean 'math'.*exact, .*number"
    ):
        load_grader("maths")


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("learner.steps=7", "learner", "steps", 7),
        ("learner.learning_rate=2e-5", "learner", "learning_rate", 2e-5),
        ("problems.train=data/a=b.jsonl", "problems", "train", "data/a=b.jsonl"),
        ('problems.train="7"', "problems", "train", "7"),
        ("problems.sources=['rows']", "problems", "sources", ("rows",)),
        ("problems.band=[2, 2.5]", "problems", "band", (2.0, 2.5)),
        (" model.path = a folder ", "model", "path", "a folder"),
        ("model.gradient_checkpointing=true", "model", "gradient_checkpointing", True),
    ],
)
def test_an_override_is_toml_or_else_a_string(
    override: str, section: str, key: str, value: object
) -> None:
    found = getattr(getattr(tiny(override), section), key)
    assert found == value
    assert type(found) is type(value)


def test_overrides_reach_the_top_level_parameters_and_the_last_one_wins() -> None:
    recipe = tiny("seed=3", "target.tokens=9", "seed=4")
    assert recipe.seed == 4
    assert recipe.target.parameters == {"tokens": 9}


@pytest.mark.parametrize("override", ["learner.steps", "=3", "learner.=3", "", "."])
def test_an_override_without_key_and_value_is_refused(override: str) -> None:
    assert refusal(override) == f"--set {override!r} is not section.key=value"


def test_an_override_cannot_go_below_a_value() -> None:
    assert (
        refusal("learner.steps.x=3") == "--set 'learner.steps.x=3': steps is a value, not a section"
    )


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no recipe at .*missing\.toml"):
        read_recipe(tmp_path / "missing.toml")


@pytest.mark.parametrize("content", [b"seed = ", b"seed = 1\nseed = 2\n", b"# \xe9"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML: "):
        read_recipe(file)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["problems.sources=['rows', 'chains']", "problems.train=a 'quoted' \\ path.jsonl"],
        ["learner.learning_rate=1.2345678901234567e-7", "problems.band=[1.5, 3]"],
    ],
)
def test_a_recipe_written_and_read_again_is_the_same(tmp_path: Path, overrides: list[str]) -> None:
    recipe = tiny(*overrides)
    file = tmp_path / "again.toml"
    file.write_text(as_toml(recipe), encoding="utf-8")
    again = read_recipe(file)
    assert again == recipe
    assert first_difference(again, recipe) is None
    assert as_toml(again) == as_toml(recipe)


def test_a_written_recipe_shows_defaults_too() -> None:
    assert "clip_high = 0.28" in as_toml(tiny())
    assert 'path = "lab-v1"' in as_toml(tiny())


@pytest.mark.parametrize(
    ("override", "difference"),
    [
        ("learner.steps=6", "learner.steps is 5 here and 6 there"),
        ("target.tokens=21", "target.tokens is 20 here and 21 there"),
        ("seed=1", "seed is 0 here and 1 there"),
        ("reward.name=correctness", "reward.name is 'truncation' here and 'correctness' there"),
        ("problems.sources=['rows']", "problems.sources is None here and ('rows',) there"),
    ],
)
def test_the_first_difference_names_key_and_both_values(override: str, difference: str) -> None:
    assert first_difference(tiny(), tiny(override)) == difference


def test_a_parameter_that_only_one_side_has_is_a_difference() -> None:
    ours = tiny()
    theirs = ours.model_copy(update={"reward": NamedSection(name="truncation", alpha=0.1)})
    assert first_difference(ours, theirs) == "reward.alpha is None here and 0.1 there"
    assert first_difference(theirs, ours) == "reward.alpha is 0.1 here and None there"


def test_equal_recipes_have_no_difference() -> None:
    assert first_difference(tiny(), tiny("seed=0")) is None


def test_trackers_are_known_and_named_once() -> None:
    recipe = tiny("track.to=['wandb', 'mlflow']")
    assert refusal("track.to=['wandb', 'mlflow', 'wandb']") == (
        "track.to = ['wandb', 'mlflow', 'wandb'] names wandb twice; name it once"
    )
    assert refusal("track.to=[]") == (
        "track.to = [] sends the run nowhere; name one or more of mlflow, tensorboard, trackio, "
        "wandb, or leave [track] out"
    )
    assert recipe.trackers == ("wandb", "mlflow")
    assert tiny().trackers == ()
    assert refusal("track.to=['wandv']") == (
        "track.to: there is no tracker 'wandv'; did you mean 'wandb'? choose one of mlflow, "
        "tensorboard, trackio, wandb"
    )
    assert refusal("track.to=wandb") == "track.to = 'wandb' must be a list, ['wandb']"
    assert refusal("track.project=p") == "recipe key track.to is missing; add it"


def test_where_a_run_is_sent_is_no_difference() -> None:
    ours, theirs = tiny("track.to=['wandb']"), tiny("track.to=['mlflow']", "track.project=p")
    assert differences(ours, theirs) == differences(ours, tiny()) == []


def test_a_setting_that_moved_is_named_with_its_new_place() -> None:
    for old, new in (("clip_low", "clip_low"), ("clip_high", "clip_high"), ("kl_coef", "kl_coef")):
        message = refusal(f"learner.{old}=0.1")
        assert message == f"recipe key learner.{old} is now loss.{new}; rename it"


@pytest.mark.parametrize(
    ("name", "low", "high"), [("ppo_clip", 0.2, 0.28), ("gspo", 3e-4, 4e-4), ("cispo", 1.0, 4.0)]
)
def test_each_loss_has_clips_of_its_own(name: str, low: float, high: float) -> None:
    loss = tiny(f"loss.name={name}").loss
    assert (loss.clip_low, loss.clip_high) == (low, high)
    assert tiny(f"loss.name={name}", "loss.clip_high=0.5").loss.clip_high == 0.5


def test_a_recipe_with_the_removed_engine_is_read_with_a_warning() -> None:
    with pytest.warns(TerselyWarning, match=r'"continuous" was removed.*the local engine'):
        old = read_recipe(TINY, overrides=["sampling.engine=continuous"])
    assert old == read_recipe(TINY) == read_recipe(TINY, overrides=["sampling.engine=local"])
    with pytest.raises(ConfigError, match=r"sampling\.engine"):
        read_recipe(TINY, overrides=["sampling.engine=sglang"])


def test_an_unknown_name_is_refused_by_its_key() -> None:
    for key in ("loss.name", "loss.aggregation", "advantage.name", "reward.name", "target.name"):
        with pytest.raises(ConfigError, match=rf"^{key}: there is no \w+ 'nope'; "):
            read_recipe(TINY, overrides=[f"{key}=nope"])
