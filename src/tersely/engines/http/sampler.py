"""Sampling through any server that speaks OpenAI's chat completions."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exception,
    wait_exponential,
    wait_random,
)

from tersely.core.errors import EngineError
from tersely.core.types import Completion, OnCompletion, Problem, SamplingSpec
from tersely.engines.http.failures import FIRST_REQUESTS, FailureTally, RetryLines
from tersely.engines.http.repeats import RepeatCount
from tersely.engines.http.reply import (
    Said,
    Transient,
    excerpt,
    read_models,
    read_reply,
    text_of,
)
from tersely.engines.http.request import (
    PLAIN,
    Chunk,
    Dialect,
    Endpoint,
    body_of,
    check_endpoint,
    chunks_of,
    describe,
    headers_of,
    postponed,
    refused,
    unreachable,
)
from tersely.engines.local.jobs import check_spec
from tersely.engines.tokens import make_counter
from tersely.tasks.grading.parts import told_thinking

__all__ = ["Endpoint", "HTTPSampler"]

CountText = Callable[[str], int]
Pair = tuple[str, int]

CHECK_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 30.0
LONGEST_BACKOFF_S = 60.0
RETRIED_4XX = (408, 409, 425, 429)
log = logging.getLogger(__name__)


class HTTPSampler:
    """Samples completions from an endpoint.

    Raises:
        ConfigError: a setting of the endpoint is out of its bounds.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        check_endpoint(endpoint)
        self._endpoint = endpoint
        self._count_text = make_counter(endpoint.tokenizer) if endpoint.tokenizer else None

    def check(self) -> None:
        """Asks for the server's models, to fail before anything is sampled.

        Servers that have no such list are accepted. So is a model that is a folder here and not
        on the list: `transformers serve` lists the models of its cache only.

        Raises:
            EngineError: no server answers, it refuses the key, or it lacks the model.
        """
        endpoint = self._endpoint
        url = f"{endpoint.url.rstrip('/')}/models"
        timeout = httpx.Timeout(CHECK_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            reply = httpx.get(url, headers=headers_of(endpoint), timeout=timeout)
        except (httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.DecodingError) as error:
            log.warning("%s: %s: the model is not checked", url, describe(error))
            return
        except (httpx.RequestError, httpx.InvalidURL, ValueError, ImportError) as error:
            raise unreachable(url, error) from None
        if reply.status_code in (401, 403):
            raise refused(reply, endpoint)
        if reply.status_code in (502, 503, 504):
            raise EngineError(
                f"the server at {endpoint.url} is not ready (HTTP {reply.status_code}); wait for it"
            )
        if reply.status_code != 200:
            log.warning("%s answers HTTP %d: the model is not checked", url, reply.status_code)
            return
        models = read_models(reply.content)
        if models is None:
            log.warning("%s answers no list of models: the model is not checked", url)
        if not models or endpoint.model in models:
            return
        if Path(endpoint.model).is_dir():
            log.warning("%s does not list %s", url, endpoint.model)
            return
        raise EngineError(
            f"the server at {endpoint.url} has no model {endpoint.model!r}; "
            f"it has {excerpt(', '.join(models))}"
        )

    def sample(
        self,
        problems: Sequence[Problem],
        spec: SamplingSpec,
        *,
        skip: AbstractSet[Pair] = frozenset(),
        first: AbstractSet[Pair] = frozenset(),
        succeeded: bool = False,
        on_first: Callable[[], None] = lambda: None,
        on_completion: OnCompletion,
    ) -> None:
        """Every (problem, sample) not in ``skip``, each once, in the order in which they end.

        Runs an event loop of its own, so it cannot be called from within one. The samples of a
        request that is refused, or fails all its tries, are completions with ``failure``, and the
        others go on. A retry repeats the request to the byte; seeds are a function of
        ``spec.seed``, problem id and sample index. Whether a server keeps to them is its affair:
        `transformers serve` does at concurrency 1 only.

        Args:
            skip: (problem id, sample index) pairs that are there already.
            first: pairs to ask for first; the others wait until they ended.
            succeeded: samples of this server are there already.
            on_first: called then; what it raises stops all.
            on_completion: called between replies, which wait for it; what it raises stops all.
        Raises:
            EngineError: a setting is out of bounds, or nothing can succeed: all of the first 16
                requests failed, or the server is gone. Failures since the last success are then
                not handed over.
        """
        check_spec(spec, rows=1)
        most = self._endpoint.samples_per_request
        early = list(chunks_of(problems, spec, skip=skip, only=first, most=most))
        late = list(chunks_of(problems, spec, skip=skip | first, most=most))
        chunks = [*early, *late]
        if not early:
            on_first()
        if not chunks:
            return
        run = _RequestRun(
            self._endpoint,
            spec,
            httpx.create_ssl_context(),
            on_completion,
            FailureTally(
                concurrency=self._endpoint.concurrency,
                wanted=sum(len(chunk.samples) for chunk in chunks),
                succeeded=succeeded,
                hand_over=lambda completion: _pass_on(completion, on_completion),
            ),
            RetryLines(self._endpoint.tries),
            count_text=self._count_text,
        )
        try:
            asyncio.run(_sample(run, early, late, on_first))
        except _Stopped as stopped:
            raise stopped.cause from None


class _Stopped(Exception):
    """Carries an interrupt out of the event loop, which would drop it between two tasks."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass
class _RequestRun:
    """One call of :meth:`HTTPSampler.sample`: what its workers share."""

    endpoint: Endpoint
    spec: SamplingSpec
    certificates: ssl.SSLContext
    on_completion: OnCompletion
    tally: FailureTally
    retries: RetryLines
    count_text: CountText | None = None
    dialect: Dialect = PLAIN
    repeats: RepeatCount = field(default_factory=RepeatCount)
    echo: tuple[str, str, str] | None = None
    echo_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    recounted: set[str] = field(default_factory=set)
    several_came: bool = False

    async def work(self, chunks: Iterator[Chunk]) -> None:
        """Takes chunks until there are none."""
        async with self.connection() as client:
            for chunk in chunks:
                try:
                    saids = await self.ask(client, chunk, cap_tokens=self.spec.cap_tokens)
                    saids = [await self.without_echo(client, said, chunk) for said in saids]
                except (Transient, EngineError) as error:
                    self.tally.note_failure(chunk, error)
                    continue
                self.tally.note_success(len(chunk.samples))
                for said in saids:
                    self.tally.note_ended(chunk.problem.id, said.failure)
                for sample, said in zip(chunk.samples, saids, strict=True):
                    self.hand_over(chunk.problem, sample, said)

    def connection(self) -> httpx.AsyncClient:
        """A client for one worker: the work of a shared pool grows with its square."""
        timeout_s = self.endpoint.timeout_s
        return httpx.AsyncClient(
            base_url=self.endpoint.url,
            headers=headers_of(self.endpoint),
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            verify=self.certificates,
        )

    async def ask(self, client: httpx.AsyncClient, chunk: Chunk, *, cap_tokens: int) -> list[Said]:
        """One request's choices, after as many tries as it takes.

        Raises:
            Transient: every try failed.
            EngineError: the server refuses, or its answer cannot be used.
        """
        endpoint = self.endpoint
        backoff = wait_exponential(multiplier=endpoint.backoff_s, max=LONGEST_BACKOFF_S)
        retrying = AsyncRetrying(
            stop=stop_after_attempt(endpoint.tries),
            wait=backoff + wait_random(0, endpoint.backoff_s) + wait_exception(_asked_wait_s),
            retry=retry_if_exception_type(Transient),
            before_sleep=lambda state: _log_retry(state, chunk, self.retries),
            reraise=True,
        )
        return await retrying(self.ask_once, client, chunk, cap_tokens)

    async def ask_once(
        self, client: httpx.AsyncClient, chunk: Chunk, cap_tokens: int
    ) -> list[Said]:
        """One try of a request."""
        begun = asked = self.dialect
        reply = await self.post(client, chunk, cap_tokens, asked)
        while (learned := asked.learn(reply, self.spec)) != asked:
            asked = learned
            reply = await self.post(client, chunk, cap_tokens, asked)
        if reply.status_code in RETRIED_4XX or reply.status_code >= 500:
            raise postponed(reply, self.endpoint)
        if not reply.is_success:
            raise refused(reply, self.endpoint)
        if asked != begun:
            self.keep_dialect(asked)
        return read_reply(
            reply.content,
            choices=len(chunk.samples),
            cap_tokens=cap_tokens,
            prompt=chunk.problem.prompt,
            count_text=self.count_text,
            secret=self.endpoint.api_key,
        )

    def keep_dialect(self, dialect: Dialect) -> None:
        """Asks so from now on: the server has answered it, where it refused another."""
        if dialect == self.dialect:
            return
        self.dialect = dialect
        log.warning(
            "%s refuses a request as it was sent; asking with %s%s%s from now on",
            self.endpoint.url,
            dialect.cap_field,
            ", in a stream" if dialect.stream else "",
            "" if dialect.temperature else ", without a temperature, which is 1",
        )

    async def post(
        self, client: httpx.AsyncClient, chunk: Chunk, cap_tokens: int, dialect: Dialect
    ) -> httpx.Response:
        """The server's answer, whatever it is."""
        spoken = body_of(chunk, self.endpoint, self.spec, cap_tokens=cap_tokens, dialect=dialect)
        try:
            async with asyncio.timeout(self.endpoint.timeout_s):
                return await client.post("chat/completions", content=spoken)
        except TimeoutError:
            raise Transient(f"no reply within {self.endpoint.timeout_s:g} s") from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise Transient(describe(error)) from None

    async def without_echo(self, client: httpx.AsyncClient, said: Said, chunk: Chunk) -> Said:
        """Takes the rendered prompt off a content, where a server puts it there.

        `transformers serve` does, for chat templates that it does not know, when no answer
        follows the thinking. A content that holds the prompt is suspect: whether the server or
        the model repeats it is settled once, by a reply of one token, too short for a prompt.

        Raises:
            EngineError: prompt and answer stand in one content.
        """
        prompt = chunk.problem.prompt
        if not prompt or prompt not in said.content:
            return said
        async with self.echo_lock:
            if self.echo is None:
                probe = Chunk(chunk.problem, chunk.samples[:1])
                first = (await self.ask(client, probe, cap_tokens=1))[0]
                self.echo = first.content.partition(prompt)
        before, found, after = self.echo
        if not found or not said.content.startswith(before + prompt):
            return said
        if said.reasoning and said.content == before + prompt + after:
            return said._replace(content="")
        raise EngineError(
            f"the server repeats the prompt before the answer: {excerpt(said.content)!r}; "
            "use a server that knows the model's chat template, such as vLLM or SGLang"
        )

    def hand_over(self, problem: Problem, sample: int, said: Said) -> None:
        """Passes on the record of one choice."""
        text = text_of(said, stop_texts=self.endpoint.stop_texts)
        if said.beside and not self.several_came:
            self.several_came = True
            log.warning(
                "the server gives %d choices for one that is asked for: all but the first are "
                "ignored",
                said.beside + 1,
            )
        if said.counted and said.counted not in self.recounted:
            self.recounted.add(said.counted)
            log.warning(
                "usage.completion_tokens is not all that was sampled: tokens are %s", said.counted
            )
        self.repeats.note(problem.id, text)
        completion = Completion(
            problem_id=problem.id,
            sample=sample,
            text=text,
            tokens=said.tokens,
            finish=said.finish,
            thinking_tokens=told_thinking(
                text, tokens=said.tokens, reasoning=said.reasoning_tokens, count=self.count_text
            ),
            failure=said.failure,
        )
        _pass_on(completion, self.on_completion)


def _pass_on(completion: Completion, on_completion: OnCompletion) -> None:
    try:
        on_completion(completion)
    except (KeyboardInterrupt, SystemExit) as cause:
        raise _Stopped(cause) from None


async def _sample(
    run: _RequestRun, early: list[Chunk], late: list[Chunk], on_early: Callable[[], None]
) -> None:
    """Few first: where a key or a model is wrong, no more than these are paid."""
    await _work_through(run, early)
    more = max(0, FIRST_REQUESTS - len(early))
    if not run.tally.succeeded:
        await _work_through(run, late[:more])
        late = late[more:]
    if early:
        on_early()
    await _work_through(run, late)
    run.repeats.warn(run.spec)
    run.retries.finish()
    run.tally.finish()


async def _work_through(run: _RequestRun, chunks: list[Chunk]) -> None:
    queue = iter(chunks)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(run.endpoint.concurrency, len(chunks))):
                group.create_task(run.work(queue))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _asked_wait_s(error: BaseException) -> float:
    return error.asked_wait_s if isinstance(error, Transient) else 0.0


def _log_retry(state: RetryCallState, chunk: Chunk, retries: RetryLines) -> None:
    assert state.outcome is not None
    wait_s = state.next_action.sleep if state.next_action else 0.0
    why = str(state.outcome.exception())
    retries.note(chunk, why, number=state.attempt_number, wait_s=wait_s)
