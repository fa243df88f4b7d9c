"""What every local sampler shares: problems become jobs, what was drawn becomes rollouts."""

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from tersely.core.errors import ConfigError, EngineError, shortened
from tersely.core.types import Finish, Message, Problem, Rollout, SamplingSpec
from tersely.tasks.grading.answer import opens_thinking

OnRollout = Callable[[Rollout], None]
# Positions of a model that names none, such as a recurrent one.
_NO_BOUND = 2**31
# What a chat template is given beside the messages, as a rule.
NOTHING_MORE: Mapping[str, Any] = MappingProxyType({})
_REASON_CHARS = 240


class Engine(StrEnum):
    """What samples in this process: our decoder, or for other architectures the model's own
    forward; or vLLM."""

    LOCAL = "local"
    VLLM = "vllm"


@runtime_checkable
class Sampler(Protocol):
    """An engine that samples rollouts from a policy that can change under it."""

    @property
    def codec(self) -> "RolloutCodec":
        """What turns problems into jobs."""

    def refresh(self) -> None:
        """Takes over the policy's current weights."""

    def sample(
        self,
        problems: Sequence[Problem],
        spec: SamplingSpec,
        *,
        skip: AbstractSet[tuple[str, int]] = frozenset(),
        on_rollout: OnRollout | None = None,
    ) -> list[list[Rollout]]:
        """``spec.samples`` rollouts a problem, in problem and sample order, but for those whose
        (problem id, sample) is to be skipped."""

    def run(self, jobs: Sequence["Job"], spec: SamplingSpec, *, on_rollout: OnRollout) -> None:
        """Runs jobs whose prompts are given as tokens; ``on_rollout`` as each of them ends."""


class Job(NamedTuple):
    """One rollout to be made: which problem, which sample, and the prompt's tokens.

    Jobs of one ``problem`` number share one prompt. ``thinking_open``: it ends inside the thinking.
    """

    problem: int
    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    thinking_open: bool = False


class SampledTrace(NamedTuple):
    """What was sampled for one job, stop token included."""

    token_T: Shaped[np.ndarray, " T"]
    logprob_T: Shaped[np.ndarray, " T"]
    entropy_T: Shaped[np.ndarray, " T"]


class RolloutCodec(NamedTuple):
    """What every sampler needs to turn problems into jobs and traces into rollouts.

    Token ids of prompts are below ``vocabulary``; ``positions`` says what bounds them. ``template``
    is what the chat template is given beside the messages.
    """

    tokenizer: Any
    stop_ids: frozenset[int]
    max_positions: int
    vocabulary: int = _NO_BOUND
    positions: str = "positions of the model"
    template: Mapping[str, Any] = NOTHING_MORE

    def jobs(
        self,
        problems: Sequence[Problem],
        spec: SamplingSpec,
        *,
        skip: AbstractSet[tuple[str, int]] = frozenset(),
    ) -> list[Job]:
        """One job a sample that is not to be skipped, problem by problem.

        Raises:
            ConfigError: the chat template refuses a prompt, or leaves a part of it out.
            EngineError: a prompt plus the cap does not fit the model's positions, or a token of
                it is not in the model's vocabulary.
        """
        check_chat(self.tokenizer, problems, settings=self.template)
        jobs: list[Job] = []
        for index, problem in enumerate(problems):
            ids = tuple(rendered(self.tokenizer, problem, settings=self.template))
            self.check(problem.id, len(ids), spec)
            if max(ids) >= self.vocabulary:
                raise EngineError(
                    f"problem {problem.id!r}: token {max(ids)} of its prompt is outside the "
                    f"model's vocabulary of {self.vocabulary}; tokenizer and model do not belong "
                    "together: use the tokenizer the model came with"
                )
            thinking_open = prompt_opens_thinking(
                self.tokenizer, problem.prompt, earlier=problem.earlier, settings=self.template
            )
            jobs += [
                Job(index, problem.id, s, ids, thinking_open)
                for s in range(spec.samples)
                if (problem.id, s) not in skip
            ]
        return jobs

    def collect(
        self, jobs: Sequence[Job], run: Callable[[OnRollout], None], on_rollout: OnRollout | None
    ) -> list[list[Rollout]]:
        """The rollouts of a run by problem, in sample order, each also passed on as it ends."""
        done: dict[int, list[Rollout]] = {}
        number_of = {job.problem_id: job.problem for job in jobs}

        def keep(rollout: Rollout) -> None:
            done.setdefault(number_of[rollout.problem_id], []).append(rollout)
            if on_rollout is not None:
                on_rollout(rollout)

        run(keep)
        return [sorted(done[problem], key=lambda r: r.sample) for problem in sorted(done)]

    def rollout(self, job: Job, trace: SampledTrace, spec: SamplingSpec) -> Rollout:
        """The record of one finished job."""
        ids = tuple(trace.token_T.tolist())
        stopped = ids[-1] in self.stop_ids
        text = self.tokenizer.decode(
            trace.token_T[:-1] if stopped else trace.token_T,
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )
        return Rollout(
            problem_id=job.problem_id,
            sample=job.sample,
            prompt_ids=job.prompt_ids,
            completion_ids=ids,
            logprobs=np.array(trace.logprob_T, dtype=np.float32),
            entropy=float(np.mean(trace.entropy_T, dtype=np.float64)),
            finish=Finish.STOP if stopped else Finish.LENGTH,
            policy_step=spec.policy_step,
            text=text,
            thinking_open=job.thinking_open,
        )

    def drawn(self, job: Job, trace: SampledTrace, spec: SamplingSpec) -> Rollout:
        """As ``rollout``, of a sampler that draws from logits.

        Raises:
            EngineError: they were not numbers.
        """
        if np.isnan(trace.logprob_T).any():
            first = int(np.isnan(trace.logprob_T).argmax())
            raise EngineError(
                f"problem {job.problem_id!r}: the model's logits are not finite numbers at token "
                f"{first + 1} of its answer; its weights overflow, as after training that "
                "diverged: use another checkpoint"
            )
        return self.rollout(job, trace, spec)

    def check(self, problem_id: str, prompt_tokens: int, spec: SamplingSpec) -> None:
        """Raises :class:`EngineError` unless prompt and cap fit the model's positions."""
        bound = self.max_positions - spec.cap_tokens
        if bound < 1:
            raise EngineError(
                f"cap_tokens {spec.cap_tokens} leaves no room for a prompt in the "
                f"{self.max_positions} {self.positions}; lower cap_tokens"
            )
        if prompt_tokens < 1:
            raise EngineError(f"problem {problem_id!r} has an empty prompt; give it a token")
        if prompt_tokens > bound:
            raise EngineError(
                f"problem {problem_id!r}: prompt of {prompt_tokens} tokens exceeds {bound} = "
                f"{self.max_positions} {self.positions} - cap_tokens {spec.cap_tokens}; "
                "shorten the prompt, lower cap_tokens or use a model with more positions"
            )


def prompt_opens_thinking(
    tokenizer: Any,
    prompt: str,
    *,
    earlier: Sequence[Message] = (),
    settings: Mapping[str, Any] = NOTHING_MORE,
) -> bool:
    """Whether the chat template ends this question's prompt inside the thinking.

    Args:
        earlier: the messages before the question; templates read "/no_think" in the system's.
        settings: what else the template is given, such as ``enable_thinking``.
    """
    before = [{"role": message.role, "content": message.content} for message in earlier]
    chat = [*before, {"role": "user", "content": prompt}]
    written = _write(tokenizer, chat, of=repr(shortened(prompt)), tokenize=False, **settings)
    return opens_thinking(written, asked=prompt)


def rendered(
    tokenizer: Any, problem: Problem, *, settings: Mapping[str, Any] = NOTHING_MORE
) -> list[int]:
    """The problem's prompt as the model gets it, through the chat template.

    Args:
        settings: what else the template is given.
    Raises:
        ConfigError: the template refuses it.
    """
    of = f"problem {problem.id!r}"
    ids: list[int] = _write(
        tokenizer, problem.chat, of=of, tokenize=True, return_dict=False, **settings
    )
    return ids


def check_chat(
    tokenizer: Any, problems: Sequence[Problem], *, settings: Mapping[str, Any] = NOTHING_MORE
) -> None:
    """Refuses a chat template that leaves out the question, or messages before it.

    A template that writes a message writes another text where the message is another. Every
    message is tried, of chats with the same roles in the same order the first that is not empty.

    Args:
        settings: what else the template is given.
    Raises:
        ConfigError: one of them makes no difference.
    """
    tried: set[tuple[tuple[str, ...], int]] = set()
    for problem in problems:
        chat, of = problem.chat, f"problem {problem.id!r}"
        roles = tuple(message["role"] for message in chat)
        for place, message in enumerate(chat):
            if (roles, place) in tried or not message["content"].strip():
                continue
            tried.add((roles, place))
            changed = [*chat]
            changed[place] = {**message, "content": f"{message['content']} and more"}
            if _write(tokenizer, chat, of=of, tokenize=False, **settings) == _write(
                tokenizer, changed, of=of, tokenize=False, **settings
            ):
                is_question = place == len(chat) - 1
                raise ConfigError(_say_left_out(of, roles[place], settings, is_question))


def _say_left_out(of: str, role: str, settings: Mapping[str, Any], is_question: bool) -> str:
    template = "give the model a chat template (chat_template.jinja in its folder)"
    given = f", or change what the template is given ({', '.join(settings)})" if settings else ""
    if is_question:
        return f"{of}: the chat template leaves the question out; {template} that writes it{given}"
    return (
        f"{of} has a message of role {role!r} before the question, which the chat template leaves "
        f"out, so that the model would never read it; put its text into the question, or "
        f"{template} that writes the role{given}"
    )


def _write(tokenizer: Any, chat: Sequence[Mapping[str, str]], *, of: str, **settings: Any) -> Any:
    """A chat through the chat template, to where the answer begins."""
    try:
        return tokenizer.apply_chat_template(chat, add_generation_prompt=True, **settings)
    except Exception as error:  # a template is a program: what it raises is of any kind
        before = [message["role"] for message in chat[:-1]]
        said = " ".join(str(error).split()) or type(error).__name__
        fix = "mend the chat template (chat_template.jinja in the model's folder)"
        if before:
            fix = f"put the text of its {before[0]} message into the question, or {fix}"
        raise ConfigError(
            f"{of}: the chat template fails on its messages ({', '.join((*before, 'user'))}): "
            f"{said[:_REASON_CHARS]}; {fix}"
        ) from error


def make_codec(
    model: Any, tokenizer: Any, *, template: Mapping[str, Any] = NOTHING_MORE
) -> RolloutCodec:
    """Stop tokens are the tokenizer's and the generation config's; one of them must exist.

    Args:
        model: or anything else with its ``config`` and ``generation_config``.
        template: what the chat template is given beside the messages.

    Raises:
        ConfigError: a stop token is not in the model's vocabulary.
        EngineError: neither names a stop token.
    """
    listed = _listed_stops(getattr(model.generation_config, "eos_token_id", None))
    stop_ids = frozenset(i for i in [tokenizer.eos_token_id, *listed] if i is not None)
    if not stop_ids:
        raise EngineError(
            "no stop token: tokenizer.eos_token_id and generation_config.eos_token_id are both "
            "None, so no rollout could end; set one"
        )
    text_config = model.config.get_text_config()
    vocabulary = int(getattr(text_config, "vocab_size", None) or _NO_BOUND)
    outside = sorted(i for i in stop_ids if not 0 <= i < vocabulary)
    if outside:
        whose = (
            f"the tokenizer's eos_token {tokenizer.eos_token!r}"
            if outside[0] == tokenizer.eos_token_id
            else "eos_token_id of generation_config.json or config.json"
        )
        raise ConfigError(
            f"stop token {outside[0]} ({whose}) is outside the model's vocabulary of {vocabulary}, "
            "so it can never be sampled; set eos_token of tokenizer_config.json and eos_token_id "
            "of generation_config.json to a token the model has"
        )
    positions = int(getattr(text_config, "max_position_embeddings", None) or _NO_BOUND)
    switch = rotation_switch(text_config)
    if switch is None or switch >= positions:
        return RolloutCodec(tokenizer, stop_ids, positions, vocabulary, template=template)
    return RolloutCodec(
        tokenizer,
        stop_ids,
        switch,
        vocabulary,
        "positions up to which longrope rotates by its short factors",
        template,
    )


def _listed_stops(listed: object) -> list[int]:
    """The stop tokens that a generation config lists.

    Raises:
        ConfigError: one of them is no token id.
    """
    stops: list[int] = []
    for one in listed if isinstance(listed, list | tuple) else [listed]:
        if isinstance(one, bool) or not isinstance(one, int | None):
            raise ConfigError(
                f"eos_token_id {shortened(one)!r} of generation_config.json (or config.json) is no "
                "token id; write whole numbers"
            )
        stops += [] if one is None else [one]
    return stops


def rotation_switch(config: Any) -> int | None:
    """The length up to which longrope keeps its short factors; None where no length switches.

    Beyond it *all* positions rotate by the long factors. A sampler has rotated the first part by
    the short ones by then, a forward pass over the whole has not, and rows of either length that
    share a batch are rotated alike: no two engines agree across it. Dynamic NTK switches at
    ``max_position_embeddings``, which bounds every model.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    # Models with two kinds of attention layers have one table a kind.
    tables = [table for table in rope.values() if isinstance(table, Mapping)] or [rope]
    outer = getattr(config, "original_max_position_embeddings", None)
    switches = [
        table.get("original_max_position_embeddings") or outer
        for table in tables
        if table.get("rope_type") == "longrope"
    ]
    return min((int(switch) for switch in switches if switch), default=None)


def check_spec(spec: SamplingSpec, *, rows: int) -> None:
    """Raises :class:`EngineError` naming the first setting that is out of its bounds."""
    bounds = {
        f"rows {rows} is below 1": rows < 1,
        f"samples {spec.samples} is below 1": spec.samples < 1,
        f"cap_tokens {spec.cap_tokens} is below 1": spec.cap_tokens < 1,
        f"temperature {spec.temperature} is not in [0, inf)": not 0 <= spec.temperature < math.inf,
        f"top_p {spec.top_p} is outside (0, 1]": not 0 < spec.top_p <= 1,
        f"top_k {spec.top_k} is below 0 (0 = off)": spec.top_k < 0,
    }
    for message, broken in bounds.items():
        if broken:
            raise EngineError(f"{message}; set it within that bound")
