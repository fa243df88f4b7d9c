"""The sections of a recipe: what each may set, its bounds and defaults."""

import warnings
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from tersely import trackers
from tersely.algo import aggregations, losses
from tersely.algo.advantages import MaskScope
from tersely.algo.filters import GfpoRank
from tersely.algo.masks import MASKED, STRATEGIES, Cells
from tersely.core.errors import TerselyWarning, no_such, shortened
from tersely.engines.local.template import check_settings

ShareBound = Annotated[float, Field(ge=0, le=1)]
# Far beyond any run, and small enough for every sum and product of a price.
MOST = 10**12
Count = Annotated[int, Field(ge=1, le=MOST)]
# More than blanks.
Named = Annotated[str, Field(pattern=r"\S")]
# TOML's arrays arrive as lists.
TomlArray = Field(strict=False)


class Section(BaseModel):
    """A section; unknown keys are errors."""

    # Strict: neither "12" nor true is a count.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelSection(Section):
    """The model to train. ``cpu_threads``: threads to compute with on a CPU; None is all cores.

    ``lora_rank``: train low-rank adapters of this rank on ``lora_targets`` (names of linear layers;
    none: all but the head) scaled by ``lora_alpha`` / rank (none: 2); none trains every weight.
    ``chat_template_kwargs`` are given to the chat template beside the messages, whoever trains or
    evaluates; ``system_prompt`` is put before every problem.
    """

    path: Named = "lab"
    lora_rank: Count | None = None
    lora_alpha: Annotated[float, Field(gt=0)] | None = None
    lora_targets: Annotated[tuple[str, ...], TomlArray] = ()
    gradient_checkpointing: bool = False
    cpu_threads: Count | None = None
    chat_template_kwargs: dict[str, Any] = {}
    system_prompt: Named | None = None

    @field_validator("chat_template_kwargs")
    @classmethod
    def _are_of_templates(cls, settings: dict[str, Any]) -> dict[str, Any]:
        check_settings(settings, where="model.chat_template_kwargs")
        return settings


class ProblemsSection(Section):
    """What to train and test on: ``lab``, a file, a set by its name, ``gym:TASK?size=200``,
    or several of them between commas."""

    train: Named = "lab"
    test: Named = "lab"
    band: Annotated[tuple[float, float], TomlArray] | None = None
    sources: Annotated[tuple[str, ...], TomlArray, Field(min_length=1)] | None = None
    train_limit: Count = 2000
    test_limit: Count = 400


class EffortLevel(Section):
    """How a prompt asks for a level of effort; nothing of either leaves it as it is.

    ``phrase`` is put after the question; ``system_prompt`` before everything.
    """

    phrase: str = ""
    system_prompt: Named | None = None

    @field_validator("phrase")
    @classmethod
    def _asks_for_something(cls, phrase: str) -> str:
        if phrase and not phrase.strip():
            raise ValueError(
                f"the phrase {phrase!r} of a level of effort is blank, and asks for nothing; write "
                "what the level asks for, or leave it out"
            )
        return phrase


class SamplingSection(Section):
    """How a step's rollouts are drawn; ``cap_tokens`` is L_R.

    ``without_signal``: what becomes of a group whose rollouts are all right or all wrong by the
    verifier, whatever its shaped reward. keep trains on it (a length reward may still tell its
    right ones apart); drop leaves it out of the loss; refill also samples other prompts in its
    place, in up to ``refill_rounds`` rounds a step. All are recorded and counted. ``engine`` is
    what samples in ``tersely train``; vllm takes ``vllm_memory_share`` of the GPU's memory (of the
    machine's on a CPU). ``dtype`` is what the local engine samples from there; none given, bfloat16
    on a GPU and float32 on a CPU, where bfloat16 is faster for large models on new processors.
    """

    prompts_per_step: Count
    samples_per_prompt: Annotated[int, Field(ge=2, le=MOST)]
    cap_tokens: Count
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0, le=MOST)] = 0
    rows: Count = 256
    engine: Literal["local", "vllm"] = "local"
    dtype: Literal["float32", "bfloat16"] | None = None
    vllm_memory_share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    without_signal: Literal["keep", "drop", "refill"] = "keep"
    refill_rounds: Count = 4

    @field_validator("engine", mode="before")
    @classmethod
    def _known_engine(cls, engine: object) -> object:
        """Recipes and run folders of an older version name an engine that is gone."""
        if engine != "continuous":
            return engine
        warnings.warn(
            'sampling.engine = "continuous" was removed, and the local engine samples the same '
            "tokens; a run that goes on may differ in the last bits of its weights",
            TerselyWarning,
            stacklevel=2,
        )
        return "local"

    @model_validator(mode="after")
    def _own_dtype(self) -> "SamplingSection":
        if self.dtype is not None and self.engine != "local":
            raise ValueError(
                f"sampling.dtype = {self.dtype!r} is of the local engine, and sampling.engine = "
                f"{self.engine!r} chooses its own; leave it out"
            )
        return self


class NamedSection(BaseModel):
    """A function by its file name, and its keyword parameters."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str

    @property
    def parameters(self) -> dict[str, Any]:
        """All settings except the name."""
        return dict(self.__pydantic_extra__ or {})


class EngineSection(BaseModel):
    """A distributed engine's own settings by its own names; ``tersely launch`` checks them, and
    ``tersely train`` does not look at them."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    @property
    def settings(self) -> dict[str, Any]:
        """All that was given."""
        return dict(self.__pydantic_extra__ or {})


def _paid_or_masked(value: Any) -> Any:
    if isinstance(value, bool) or not (value == "masked" or isinstance(value, int | float)):
        raise ValueError(f'treatment.cells: a cell is a number or "masked", not {value!r}')
    if value != "masked" and not abs(value) <= MOST:
        raise ValueError(
            f"treatment.cells: {shortened(value)} is above {MOST:g} in size; set a smaller one"
        )
    return value


PaidOrMasked = Annotated[Any, BeforeValidator(_paid_or_masked)]


class CellsSection(Section):
    """The reward of each cell, or "masked"; short means up to the target. Default: vanilla."""

    correct_short: PaidOrMasked = 1.0
    correct_long: PaidOrMasked = 0.0
    wrong_short: PaidOrMasked = 0.0
    wrong_long: PaidOrMasked = 0.0


def _row(value: Any) -> Any:
    """The table of a strategy's name."""
    if not isinstance(value, str):
        return value
    if value not in STRATEGIES:
        raise ValueError(
            no_such("strategy", value, STRATEGIES, fix="give treatment.cells a table of your own")
        )
    paid = asdict(STRATEGIES[value]).items()
    return {cell: "masked" if pay is MASKED else pay for cell, pay in paid}


class TreatmentSection(Section):
    """The rewards of a group's four cells, and which rollouts count; arXiv:2602.20945, Table 1.

    ``cells`` is a row of that table or a table of your own, and but for vanilla goes with the
    reward truncation. ``unfinished`` = graded lets a
    rollout that was cut with its answer already written be right; the paper's runs with L_R = L_T
    look like that. ``mask_scope``: whether masked rollouts count in their group's mean and std.
    """

    cells: Annotated[CellsSection, BeforeValidator(_row)] = CellsSection()
    unfinished: Literal["wrong", "graded"] = "wrong"
    mask_scope: Annotated[MaskScope, Field(strict=False)] = MaskScope.EVERYWHERE

    @property
    def table(self) -> Cells:
        """What the four cells are paid.

        Raises:
            ConfigError: it cannot be trained on.
        """
        paid = self.cells.model_dump().items()
        return Cells(
            **{cell: MASKED if value == "masked" else float(value) for cell, value in paid}
        )


class FilterSection(Section):
    """Which rollouts of a group the loss sees at all: the ``keep`` best, as in GFPO.

    ``by``: shortest, or reward_per_token.
    """

    name: Literal["gfpo"]
    keep: Count
    by: Annotated[GfpoRank, Field(strict=False)] = GfpoRank.SHORTEST


class AdvantageSection(NamedSection):
    """How rewards become advantages: the name of a function in ``algo`` and its parameters."""

    name: str = "group_normalised"


class LossSection(Section):
    """What an update minimises: a policy loss, how its tokens become one number, what is added.

    ``clip_low``, ``clip_high``: the probability ratio is held in [1 - clip_low, 1 + clip_high];
    left out, the loss's own. ``dual_clip``: bound of a negative term, where the loss has one.
    ``aggregation``: constant divides by cap_tokens a rollout, Dr. GRPO's. ``kl``: the estimator
    against the starting weights, which k1 can only report. ``importance_cap``: C of
    min(learner / sampler, C), where the old policy is the learner's own.
    """

    name: str = "ppo_clip"
    clip_low: ShareBound
    clip_high: Annotated[float, Field(ge=0)]
    dual_clip: Annotated[float, Field(gt=1)] | None = None
    aggregation: str = "token_mean"
    kl: Literal["none", "k1", "k2", "k3"] = "none"
    kl_coef: Annotated[float, Field(ge=0)] = 0.0
    entropy_coef: Annotated[float, Field(ge=0)] = 0.0
    importance_cap: Annotated[float, Field(ge=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _own_clips(cls, settings: Any) -> Any:
        if not isinstance(settings, dict):
            return settings
        low, high = losses.default_clips(str(settings.get("name", "ppo_clip")))
        return {"clip_low": low, "clip_high": high, **settings}

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "LossSection":
        aggregations.check(self.aggregation)
        if self.dual_clip is not None and not losses.takes_dual_clip(self.name):
            takers = [name for name in losses.available() if losses.takes_dual_clip(name)]
            raise ValueError(
                f"loss.dual_clip = {self.dual_clip:g} is a bound of {', '.join(takers)}, and the "
                f'loss is {self.name}; leave it out or set loss.name = "{takers[0]}"'
            )
        if self.kl_coef > 0 and self.kl == "none":
            raise ValueError(
                f"loss.kl_coef = {self.kl_coef:g} weighs no estimator; "
                'set loss.kl = "k3" (GRPO\'s) or "k2"'
            )
        if self.kl_coef > 0 and self.kl == "k1":
            raise ValueError(
                f'loss.kl_coef = {self.kl_coef:g} with loss.kl = "k1": as a term of the loss its '
                'expected gradient is zero; set loss.kl = "k2", or kl_coef = 0 to report it only'
            )
        return self


class LearnerSection(Section):
    """The optimizer; ``staleness`` is S, updates per rollout batch.

    ``rollout_tokens``: the run ends before its last step once it has sampled so many tokens, so
    that methods whose rollouts differ in length can be compared at equal cost.
    ``dtype`` is what the local engine's matrix products are made of, the weights staying float32;
    none given, bfloat16 on a GPU and float32 on a CPU.
    """

    steps: Annotated[int, Field(ge=1, le=1_000_000)]
    rollout_tokens: Annotated[int, Field(ge=1, le=10**15)] | None = None
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0, le=MOST)] = 0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    staleness: Count = 1
    micro_batch_tokens: Count = 16384
    dtype: Literal["float32", "bfloat16"] | None = None


class EvaluationSection(Section):
    """When and how the model is evaluated; the sampled cap is the largest budget."""

    every_steps: Count
    samples: Count
    budgets: Annotated[tuple[Count, ...], TomlArray, Field(min_length=1)]


class CheckpointSection(Section):
    """How often state is saved; the last two are kept, and the final one."""

    every_steps: Count = 20


class TrackSection(Section):
    """Where the figures of a run are sent as it goes, beside its folder. No step depends on it, and
    a run may go on with another.

    ``project``: of W&B and trackio, the experiment of MLflow. ``name``: the run's own there; none
    is that of its folder.
    """

    to: Annotated[tuple[Named, ...], TomlArray]
    project: Named = "tersely"
    name: Named | None = None

    @field_validator("to")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = trackers.available()
        if not names:
            raise ValueError(
                f"track.to = [] sends the run nowhere; name one or more of {', '.join(known)}, or "
                "leave [track] out"
            )
        for name in names:
            if name not in known:
                raise ValueError(f"track.to: {no_such('tracker', name, known)}")
            if names.count(name) > 1:
                raise ValueError(f"track.to = {list(names)} names {name} twice; name it once")
        return names
