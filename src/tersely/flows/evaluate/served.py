"""An evaluation through a server: checks its first samples and where thinking begins."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.forcing import TokenRecord
from tersely.core.types import Completion, EvalRecord, Finish, OnCompletion, Problem, SamplingSpec
from tersely.engines.http.sampler import Endpoint, HTTPSampler
from tersely.engines.http.template import Template, read_template
from tersely.flows.evaluate.open_thinking import OpenThinking, begun, settle
from tersely.flows.evaluate.preflight import first_pairs, judge
from tersely.flows.evaluate.splits import NO_TOKENS, check_splits, pieces_of, tokens_of


@dataclass(frozen=True, kw_only=True)
class Served:
    """What is sampled from which server, and into which file of records.

    ``grade`` makes the record of a completion, of the named run. ``accept_first`` only warns of
    what would stop. ``tokens_file``: where the tokens of samples are kept, for a protocol that
    cuts between them.
    """

    endpoint: Endpoint
    problems: Sequence[Problem]
    spec: SamplingSpec
    file: Path
    grade: Callable[[Completion, str], EvalRecord]
    accept_first: bool = False
    tokens_file: Path | None = None

    def sample(self, skip: AbstractSet[tuple[str, int]], keep: OnCompletion) -> None:
        """Makes the completions that are not to be skipped.

        Raises:
            EngineError: the server cannot do it, or its first samples show that figures would be
                wrong.
        """
        records = self._records()
        thinking = self._thinking(records)

        def on_completion(completion: Completion) -> None:
            is_open = thinking.note([completion]).is_open(completion)
            made = begun(completion, thinking_open=is_open)
            if self.tokens_file is not None and made.pieces is not None:
                jsonl.append(self.tokens_file, tokens_of(made))
            keep(made)
            if self.tokens_file is not None and made.pieces is None and not made.failure:
                raise ConfigError(NO_TOKENS.format(url=made.endpoint))

        if self.tokens_file is not None and self.tokens_file.is_file():
            jsonl.repair_torn_tail(self.tokens_file)
        try:
            HTTPSampler(self.endpoint, with_tokens=self.tokens_file is not None).sample(
                self.problems,
                self.spec,
                skip=skip,
                first=self._first,
                succeeded=any(record.finish is not Finish.ERROR for record in records),
                on_first=lambda: self._judge_first(warn=not self._first <= skip),
                on_completion=on_completion,
            )
        finally:
            self._settle()
        self._check_tokens(warn=True)

    def check(self) -> None:
        """Raises :class:`EngineError` if the file's figures would be wrong."""
        self._settle()
        self._judge(warn=False)

    @cached_property
    def _first(self) -> frozenset[tuple[str, int]]:
        most = self.endpoint.samples_per_request
        return first_pairs(self.problems, self.spec, samples_per_request=most)

    @cached_property
    def _template(self) -> Template:
        return read_template(
            self.endpoint.tokenizer,
            prompt=self.problems[0].prompt,
            earlier=self.problems[0].earlier,
            extra_body=self.endpoint.extra_body,
        )

    def _judge(self, *, warn: bool) -> None:
        stop_text = self._template.stop_text
        judge(
            self.file,
            self._first,
            spec=self.spec,
            stop_text=stop_text,
            warn=warn,
            accept=self.accept_first,
        )

    def _judge_first(self, *, warn: bool) -> None:
        self._judge(warn=warn)
        self._check_tokens(warn=False)

    def _check_tokens(self, *, warn: bool) -> None:
        if self.tokens_file is not None and self.tokens_file.is_file():
            check_splits(jsonl.read(self.tokens_file, TokenRecord), warn=warn)

    def _records(self) -> list[EvalRecord]:
        """What the file holds so far."""
        return jsonl.read(self.file, EvalRecord) if self.file.is_file() else []

    def _thinking(self, records: Sequence[EvalRecord]) -> OpenThinking:
        """Whether prompts open the thinking, by the template and what was sampled so far."""
        return OpenThinking(template=self._template.opens_thinking).note(records)

    def _settle(self) -> None:
        if self.file.is_file():
            settle(self.file, self._thinking(self._records()), grade=self._grade_again)

    def _grade_again(self, completion: Completion, run: str) -> EvalRecord:
        made = self._made.get((completion.problem_id, completion.sample))
        pieces = None if made is None else pieces_of(made)
        return self.grade(replace(completion, pieces=pieces), run)

    @cached_property
    def _made(self) -> dict[tuple[str, int], TokenRecord]:
        if self.tokens_file is None or not self.tokens_file.is_file():
            return {}
        return {(t.problem, t.sample): t for t in jsonl.read(self.tokens_file, TokenRecord)}
