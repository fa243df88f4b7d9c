"""The *forced* protocol through a server: it goes on from the prefixes of its own samples."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import httpx

from tersely.core.errors import ConfigError, EngineError
from tersely.core.forcing import TokenRecord
from tersely.core.types import Completion, Finish, Problem, SamplingSpec
from tersely.engines.http.continuing import Prefix, Way, path_of
from tersely.engines.http.reply import Said, text_of
from tersely.engines.http.reply_tokens import read_ids
from tersely.engines.http.request import Chunk, Endpoint, Refused, certificates, headers_of
from tersely.engines.http.sampler import HTTPSampler
from tersely.engines.http.template import load_served, settings_of
from tersely.engines.http.way import Tried, bound_tokens, fault_of
from tersely.engines.local.jobs import prompt_opens_thinking, rendered
from tersely.flows.evaluate.forced import CutSample, ForcedAnswer
from tersely.flows.evaluate.splits import NO_TOKENS, beginning_of, tokens_of
from tersely.tasks.grading.answer import THINK

# Of the first problem's answer: what is tried to go on from.
PROBE_TOKENS = 16
TOKENIZE_TIMEOUT_S = 15.0
log = logging.getLogger(__name__)


@dataclass
class ServedAnswers:
    """A server goes on from what it sampled; how it is asked is found out once, on one prefix.

    Args:
        kept: what is said of the samples that are there, where no way is found.
        measured_tokens: of the closing text, by what the server says it has read.
        differing: of ``checked`` prefixes, those that the server read as another number of tokens.
    """

    endpoint: Endpoint
    spec: SamplingSpec
    first: Problem
    close_text: str
    kept: str = ""
    measured_tokens: int = 1
    differing: int = 0
    worst_tokens: int = 0
    checked: int = 0

    def beginning(self, made: TokenRecord, budget_tokens: int) -> str:
        """The text of a sample's first tokens."""
        return beginning_of(made, budget_tokens)

    def prompt_of(self, problem: Problem, made: TokenRecord) -> str:
        """The prompt as the chat template wrote it; empty without a tokenizer that has one."""
        return "" if self._tokenizer is None else self._written(problem)

    def prepare(self) -> None:
        """Finds out, before anything is paid for, whether the server goes on from a prefix.

        Raises:
            ConfigError: it does not, or tells no tokens.
            EngineError: it does not answer.
        """
        log.warning("answers are forced through %s of %s", self._way, self.endpoint.url)

    def go_on(
        self,
        cuts: Sequence[CutSample],
        spec: SamplingSpec,
        on_answer: Callable[[CutSample, ForcedAnswer], None],
    ) -> None:
        """Has the model answer after each cut; a prefix that the server reads as far more or fewer
        tokens than it has is refused, and has no answer."""
        if not cuts:
            return
        way = self._way
        cut_of = {(cut.job_id, cut.sample): cut for cut in cuts}

        def chunks() -> Iterator[Chunk]:
            for cut in cuts:
                problem = replace(cut.problem, id=cut.job_id)
                yield Chunk(problem, (cut.sample,), self._prefix_of(way, cut))

        def keep(completion: Completion) -> None:
            cut = cut_of[completion.problem_id, completion.sample]
            on_answer(cut, self._answer(cut, completion, self._prefix_of(way, cut).tokens))

        HTTPSampler(self.endpoint).go_on(chunks(), spec, wanted=len(cuts), on_completion=keep)
        self._say_differing()

    def _answer(self, cut: CutSample, completion: Completion, tokens: int | None) -> ForcedAnswer:
        failure, read = completion.failure, completion.prompt_tokens
        if failure is None and read is not None and tokens is not None:
            off = abs(read - tokens)
            self.checked += 1
            self.differing += off > 0
            self.worst_tokens = max(self.worst_tokens, off)
            if off > bound_tokens(tokens):
                failure = (
                    f"the server read prompt and prefix as {read:,} tokens in place of {tokens:,}, "
                    f"more than {bound_tokens(tokens):,.0f} off"
                )
        whole = beginning_of(cut.made, cut.budget_tokens) + cut.closing + completion.text
        return ForcedAnswer(
            whole=whole,
            text=completion.text,
            tokens=completion.tokens,
            closing_tokens=self._closing_tokens if cut.closing else 0,
            finish=Finish.ERROR if failure else completion.finish,
            failure=failure,
        )

    def _say_differing(self) -> None:
        if self.differing:
            log.warning(
                "%s of %s prefixes are other tokens to the server than those that were sampled: "
                "at most %s more or fewer",
                f"{self.differing:,}",
                f"{self.checked:,}",
                f"{self.worst_tokens:,}",
            )

    @cached_property
    def _tokenizer(self) -> Any:
        """Of the endpoint's folder, if it has a chat template."""
        loaded = load_served(self.endpoint.tokenizer)
        return loaded if loaded is not None and loaded.chat_template else None

    @cached_property
    def _opens_thinking(self) -> bool:
        if self._tokenizer is None:
            return False
        settings = settings_of(self.endpoint.extra_body)
        return prompt_opens_thinking(self._tokenizer, self.first.prompt, settings=settings)

    @cached_property
    def _way(self) -> Way:
        made = self._first_tokens()
        cut = CutSample(self.first, 0, len(made.piece_chars), made, self.close_text)
        faults = []
        for way in Way:
            prefix = self._prefix_of(way, cut)
            if prefix.tokens is None and way is not Way.CHAT:
                continue
            fault = self._try(cut, prefix)
            if fault is None:
                return way
            faults.append(f"POST {path_of(prefix)} ({way.name.lower()}): {fault}")
        raise ConfigError(
            f"--protocol forced: the server at {self.endpoint.url} does not go on from the "
            f"beginning of an answer: {'; '.join(faults)}; {self.kept}use --protocol finished, or "
            "a server that does, such as vLLM; --tokenizer FOLDER opens its completions endpoint"
        )

    def _try(self, cut: CutSample, prefix: Prefix) -> str | None:
        """Why the server does not go on in this way; None if it does."""
        spec = replace(self.spec, samples=1, cap_tokens=min(PROBE_TOKENS, self.spec.cap_tokens))

        def ask(prefix: Prefix) -> Said:
            return HTTPSampler(self.endpoint).ask(Chunk(cut.problem, (0,), prefix), spec)

        control = None
        try:
            said = ask(prefix)
            if prefix.way is Way.CHAT:
                bare = ask(self._prefix_of(Way.CHAT, cut._replace(closing=""))).prompt_tokens
                if self._closing_ids is None and bare is not None:
                    self.measured_tokens = max(0, (said.prompt_tokens or bare) - bare)
                    prefix = self._prefix_of(Way.CHAT, cut)
                with suppress(EngineError):  # a server may refuse an answer as the last message
                    control = ask(prefix._replace(flags=False)).prompt_tokens
        except Refused as error:
            return error.said
        except EngineError as error:
            return str(error)
        return fault_of(Tried(prefix, said, control), beginning=self._text_of(cut))

    def _first_tokens(self) -> TokenRecord:
        """The first tokens of an answer to the first problem."""
        sampler = HTTPSampler(self.endpoint, with_tokens=True)
        spec = replace(self.spec, samples=1, cap_tokens=min(PROBE_TOKENS, self.spec.cap_tokens))
        said = sampler.ask(Chunk(self.first, (0,)), spec)
        text = text_of(said, stop_texts=self.endpoint.stop_texts)
        pieces = sampler.pieces_of(said, text)
        if pieces is None:
            raise ConfigError(NO_TOKENS.format(url=self.endpoint.url))
        most = said.tokens - (said.finish is Finish.STOP)
        return tokens_of(
            Completion(
                problem_id=self.first.id,
                sample=0,
                text=text,
                tokens=most,
                finish=Finish.LENGTH,
                pieces=pieces[:most],
                thinking_open=self._opens_thinking,
                prompt_tokens=said.prompt_tokens,
                prompt_ids=said.prompt_ids,
                completion_ids=None if said.made.ids is None else said.made.ids[:most],
            )
        )

    def _prefix_of(self, way: Way, cut: CutSample) -> Prefix:
        """What is sent; its ``tokens`` are None where this way cannot be gone."""
        made = cut.made
        if way is Way.IDS:
            ids = self._ids_of(cut)
            return Prefix(way, ids=ids or (), tokens=len(ids) if ids else None)
        if way is Way.TEXT:
            if self._tokenizer is None:
                return Prefix(way)
            text = self._written(cut.problem) + self._text_of(cut)
            return Prefix(way, text=text, tokens=len(self._encoded(text)))
        begun = beginning_of(made, cut.budget_tokens)
        # The template writes nothing of its own before a message that is gone on with.
        mark = f"{THINK}\n" if made.thinking_open and not begun.startswith(THINK) else ""
        tokens = None
        if made.prompt_tokens is not None:
            tokens = made.prompt_tokens + min(cut.budget_tokens, len(made.piece_chars))
            tokens += self._closing_tokens if cut.closing else 0
        return Prefix(way, text=mark + begun + cut.closing, tokens=tokens)

    def _ids_of(self, cut: CutSample) -> tuple[int, ...] | None:
        """Prompt, prefix and closing text as tokens: those sampled, where the server tells them."""
        made, closing = cut.made, self._closing_ids if cut.closing else ()
        if closing is None:
            return None
        if made.prompt_ids and (made.completion_ids or not cut.budget_tokens):
            return (*made.prompt_ids, *made.completion_ids[: cut.budget_tokens], *closing)
        if self._tokenizer is None:
            return None
        settings = settings_of(self.endpoint.extra_body)
        prompt = rendered(self._tokenizer, cut.problem, settings=settings)
        return (*prompt, *self._encoded(self._text_of(cut._replace(closing=""))), *closing)

    def _text_of(self, cut: CutSample) -> str:
        """Prefix and closing text, after a prompt that the template wrote: which opens thinking."""
        begun = beginning_of(cut.made, cut.budget_tokens)
        if self._opens_thinking:
            begun = begun.removeprefix(THINK)
        return begun + cut.closing

    def _written(self, problem: Problem) -> str:
        settings = settings_of(self.endpoint.extra_body)
        return str(
            self._tokenizer.apply_chat_template(
                problem.chat, tokenize=False, add_generation_prompt=True, **settings
            )
        )

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    @cached_property
    def _closing_ids(self) -> tuple[int, ...] | None:
        """The closing text's tokens, by the tokenizer or by the server's /tokenize."""
        if self._tokenizer is not None:
            return self._encoded(self.close_text)
        return ask_tokens(self.endpoint, self.close_text)

    @property
    def _closing_tokens(self) -> int:
        ids = self._closing_ids
        return self.measured_tokens if ids is None else len(ids)


def ask_tokens(endpoint: Endpoint, text: str) -> tuple[int, ...] | None:
    """A text's tokens by the server's own /tokenize (vLLM, SGLang); None where it has none."""
    root = endpoint.url.rstrip("/").removesuffix("/v1")
    body = {"model": endpoint.model, "prompt": text, "add_special_tokens": False}
    try:
        reply = httpx.post(
            f"{root}/tokenize",
            json=body,
            headers=headers_of(endpoint),
            timeout=TOKENIZE_TIMEOUT_S,
            verify=certificates(),
        )
        found = reply.json() if reply.is_success else None
    except (httpx.RequestError, httpx.InvalidURL, ValueError):
        return None
    return read_ids(found.get("tokens")) if isinstance(found, dict) else None
