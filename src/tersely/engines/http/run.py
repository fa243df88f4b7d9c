"""One run of requests: workers that take them, retries, and what is said meanwhile."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

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
from tersely.core.types import Completion, OnCompletion, SamplingSpec
from tersely.engines.http.continuing import CHAT_PATH, path_of
from tersely.engines.http.failures import (
    FIRST_REQUESTS,
    FailureTally,
    RetryLines,
    is_of_server,
)
from tersely.engines.http.pool import PooledServer, ServerPool
from tersely.engines.http.repeats import RepeatCount
from tersely.engines.http.reply import Said, Transient, excerpt, read_reply, text_of
from tersely.engines.http.request import (
    Chunk,
    Dialect,
    Endpoint,
    body_of,
    certificates,
    describe,
    headers_of,
    postponed,
    refused,
)
from tersely.tasks.grading.parts import told_thinking

CountText = Callable[[str], int]
# The text of each token of a reply, by the reply and its text.
SplitReply = Callable[[Said, str], tuple[str, ...] | None]

CONNECT_TIMEOUT_S = 30.0
LONGEST_BACKOFF_S = 60.0
RETRIED_4XX = (408, 409, 425, 429)
log = logging.getLogger(__name__)


class RunStopped(Exception):
    """Carries an interrupt out of the event loop, which would drop it between two tasks."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass
class RequestRun:
    """One call of :meth:`HTTPSampler.sample`: what its workers share.

    ``split`` gives the pieces of replies, where they are wanted.
    """

    endpoint: Endpoint
    spec: SamplingSpec
    pool: ServerPool
    on_completion: OnCompletion
    tally: FailureTally
    retries: RetryLines
    count_text: CountText | None = None
    split: SplitReply | None = None
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
                    self.hand_over(chunk, sample, said)

    def connection(self) -> httpx.AsyncClient:
        """A client for one worker: the work of a shared pool grows with its square."""
        timeout_s = self.endpoint.timeout_s
        return httpx.AsyncClient(
            headers=headers_of(self.endpoint),
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            verify=certificates(),
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
        return await retrying(self.ask_somewhere, client, chunk, cap_tokens)

    async def ask_somewhere(
        self, client: httpx.AsyncClient, chunk: Chunk, cap_tokens: int
    ) -> list[Said]:
        """One try of a request; where a server fails in it, at once on another that is there.

        Raises:
            Transient: every server that is there failed, and one may not the next time.
            EngineError: every server refuses the request, or its answers cannot be used.
        """
        tried: list[PooledServer] = []
        suspects: list[tuple[PooledServer, EngineError]] = []
        transient: Transient | None = None
        while True:
            server = self.pool.take(beside=tried)
            was_up = server.is_up
            tried.append(server)
            try:
                with server.busy():
                    saids = await self.ask_once(client, chunk, cap_tokens, server)
            except (Transient, EngineError) as error:
                if isinstance(error, Transient):
                    transient = transient or error
                if isinstance(error, Transient) or is_of_server(error):
                    self.pool.note_failure(server, error)
                else:
                    suspects.append((server, error))
                if not self.pool.has_other(tried):
                    raise transient or error from None
            else:
                # The request is not at fault: another server takes it.
                for suspect, refusal in suspects:
                    self.pool.note_failure(suspect, refusal)
                self.pool.note_answer(server, was_up=was_up)
                return [said._replace(endpoint=server.url) for said in saids]

    async def ask_once(
        self, client: httpx.AsyncClient, chunk: Chunk, cap_tokens: int, server: PooledServer
    ) -> list[Said]:
        """One request to one server, in the way that it takes."""
        begun = asked = server.dialect
        reply = await self.post(client, chunk, cap_tokens, server.url, asked)
        while (learned := asked.learn(reply, self.spec)) != asked:
            asked = learned
            reply = await self.post(client, chunk, cap_tokens, server.url, asked)
        if reply.status_code in RETRIED_4XX or reply.status_code >= 500:
            raise postponed(reply, self.endpoint)
        if not reply.is_success:
            raise refused(reply, self.endpoint, url=server.url)
        if asked != begun:
            self.keep_dialect(server, asked)
        return read_reply(
            reply.content,
            choices=len(chunk.samples),
            cap_tokens=cap_tokens,
            prompt=chunk.problem.prompt,
            count_text=self.count_text,
            secret=self.endpoint.api_key,
            of_texts=path_of(chunk.prefix) != CHAT_PATH,
        )

    def keep_dialect(self, server: PooledServer, dialect: Dialect) -> None:
        """Asks so from now on: the server has answered it, where it refused another."""
        if dialect == server.dialect:
            return
        before, server.dialect = server.dialect, dialect
        untold = before.token_ids > dialect.token_ids or before.logprobs > dialect.logprobs
        log.warning(
            "%s refuses a request as it was sent; asking with %s%s%s%s from now on",
            server.url,
            dialect.cap_field,
            ", in a stream" if dialect.stream else "",
            "" if dialect.temperature else ", without a temperature, which is 1",
            ", for fewer of its tokens" if untold else "",
        )

    async def post(
        self,
        client: httpx.AsyncClient,
        chunk: Chunk,
        cap_tokens: int,
        url: str,
        dialect: Dialect,
    ) -> httpx.Response:
        """The server's answer, whatever it is."""
        spoken = body_of(chunk, self.endpoint, self.spec, cap_tokens=cap_tokens, dialect=dialect)
        try:
            async with asyncio.timeout(self.endpoint.timeout_s):
                path = path_of(chunk.prefix)
                return await client.post(f"{url.rstrip('/')}/{path}", content=spoken)
        except TimeoutError:
            raise Transient(f"no reply within {self.endpoint.timeout_s:g} s") from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise Transient(describe(error), is_lost=True) from None

    async def without_echo(self, client: httpx.AsyncClient, said: Said, chunk: Chunk) -> Said:
        """Takes the rendered prompt off a content, where a server puts it there.

        `transformers serve` does, for chat templates that it does not know, when no answer
        follows the thinking. A content that holds the prompt is suspect: whether the server or
        the model repeats it is settled once, by a reply of one token, too short for a prompt.

        Raises:
            EngineError: prompt and answer stand in one content.
        """
        prompt = chunk.problem.prompt
        if chunk.prefix is not None or not prompt or prompt not in said.content:
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

    def hand_over(self, chunk: Chunk, sample: int, said: Said) -> None:
        """Passes on the record of one choice."""
        problem_id = chunk.problem.id
        text = text_of(said, stop_texts=self.endpoint.stop_texts)
        if chunk.prefix is not None:  # a parser may take what is gone on with for thinking
            whole = said._replace(content=said.reasoning + said.content, reasoning="")
            text = text_of(whole, stop_texts=self.endpoint.stop_texts)
        else:
            self.repeats.note(problem_id, text)
        self.say_oddities(said)
        completion = Completion(
            problem_id=problem_id,
            sample=sample,
            text=text,
            tokens=said.tokens,
            finish=said.finish,
            thinking_tokens=told_thinking(
                text, tokens=said.tokens, reasoning=said.reasoning_tokens, count=self.count_text
            ),
            pieces=self.split(said, text) if self.split else None,
            failure=said.failure,
            endpoint=said.endpoint,
            prompt_tokens=said.prompt_tokens,
            prompt_ids=said.prompt_ids,
            completion_ids=said.made.ids,
        )
        pass_on(completion, self.on_completion)

    def say_oddities(self, said: Said) -> None:
        """Says once what a reply holds that was not asked for, or counts otherwise."""
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


def pass_on(completion: Completion, on_completion: OnCompletion) -> None:
    """Hands a completion over; an interrupt meanwhile ends all."""
    try:
        on_completion(completion)
    except (KeyboardInterrupt, SystemExit) as cause:
        raise RunStopped(cause) from None


async def sample_all(
    run: RequestRun, early: list[Chunk], late: list[Chunk], on_early: Callable[[], None]
) -> None:
    """Few first: where a key or a model is wrong, no more than these are paid."""
    try:
        await _sample(run, early, late, on_early)
    finally:
        await run.pool.close()


async def _sample(
    run: RequestRun, early: list[Chunk], late: list[Chunk], on_early: Callable[[], None]
) -> None:
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
    await _finish(run)


async def go_on_all(run: RequestRun, chunks: Iterator[Chunk]) -> None:
    """Few first here, too; a prefix may be long, and is made only when it is sent."""
    try:
        for part in (islice(chunks, FIRST_REQUESTS), chunks):
            await _work_through(run, part)
    finally:
        await run.pool.close()
    run.retries.finish()
    await _finish(run)


async def _work_through(run: RequestRun, chunks: Iterable[Chunk]) -> None:
    queue = iter(chunks)
    most = len(chunks) if isinstance(chunks, list) else run.endpoint.concurrency
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(run.endpoint.concurrency, most)):
                group.create_task(run.work(queue))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _finish(run: RequestRun) -> None:
    """A server that died within the last requests is asked once more before they count as failed:
    there may be too few of them to tell by their number."""
    is_gone = run.tally.ends_lost() and await run.pool.is_gone()
    run.tally.finish(is_gone=is_gone)


def _asked_wait_s(error: BaseException) -> float:
    return error.asked_wait_s if isinstance(error, Transient) else 0.0


def _log_retry(state: RetryCallState, chunk: Chunk, retries: RetryLines) -> None:
    assert state.outcome is not None
    wait_s = state.next_action.sleep if state.next_action else 0.0
    why = str(state.outcome.exception())
    retries.note(chunk, why, number=state.attempt_number, wait_s=wait_s)
