"""Sampling through any server, or servers, that speak OpenAI's chat completions."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import httpx

from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import OnCompletion, Problem, SamplingSpec
from tersely.engines.http.failures import FailureTally, RetryLines
from tersely.engines.http.pool import make_pool
from tersely.engines.http.reply import (
    ListedModel,
    Said,
    Transient,
    excerpt,
    may_serve,
    read_listed,
)
from tersely.engines.http.reply_tokens import with_thinking_mark, without_extra_mark
from tersely.engines.http.request import (
    Chunk,
    Dialect,
    Endpoint,
    certificates,
    check_endpoint,
    chunks_of,
    describe,
    headers_of,
    refused,
    unreachable,
)
from tersely.engines.http.run import (
    CONNECT_TIMEOUT_S,
    RequestRun,
    RunStopped,
    go_on_all,
    pass_on,
    sample_all,
)
from tersely.engines.local.jobs import check_spec
from tersely.engines.tokens import make_counter

__all__ = ["Endpoint", "HTTPSampler"]

Pair = tuple[str, int]

CHECK_TIMEOUT_S = 15.0
log = logging.getLogger(__name__)


class HTTPSampler:
    """Samples completions from an endpoint.

    Args:
        with_tokens: completions have ``pieces``, and token ids where the server tells them: by
            the endpoint's tokenizer, or as the server says.
    Raises:
        ConfigError: a setting of the endpoint is out of its bounds.
    """

    def __init__(self, endpoint: Endpoint, *, with_tokens: bool = False) -> None:
        check_endpoint(endpoint)
        self._endpoint = endpoint
        self._counter = make_counter(endpoint.tokenizer) if endpoint.tokenizer else None
        self._with_tokens = with_tokens

    def check(self) -> None:
        """Asks for the servers' models, to fail before anything is sampled.

        Servers that have no such list are accepted. So is a model that is a folder here and not
        on the list: `transformers serve` lists the models of its cache only. Of several servers
        some may be absent.

        Raises:
            EngineError: no server answers, or one refuses the key or lacks the model.
            ConfigError: servers have different models under its name.
        """
        urls = self._endpoint.urls
        found: dict[str, ListedModel | None] = {}
        absent: list[EngineError] = []
        for url in urls:
            try:
                found[url] = _find_model(self._endpoint, url)
            except _AbsentServer as error:
                absent.append(error.said)
        if len(absent) == len(urls):
            raise absent[0]
        for said in absent:
            log.warning("%s; the other servers are asked until then", said)
        _check_alike(self._endpoint.model, {url: one for url, one in found.items() if one})

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
        wanted = sum(len(chunk.samples) for chunk in chunks)
        run = self._run(spec, on_completion, wanted=wanted, succeeded=succeeded)
        _drive(sample_all(run, early, late, on_first))

    def go_on(
        self,
        chunks: Iterable[Chunk],
        spec: SamplingSpec,
        *,
        wanted: int,
        on_completion: OnCompletion,
    ) -> None:
        """As ``sample``, of requests that have the model go on from a prefix each; ``wanted`` of
        them, which are made when they are sent."""
        run = self._run(spec, on_completion, wanted=wanted, succeeded=False)
        _drive(go_on_all(run, iter(chunks)))

    def ask(self, chunk: Chunk, spec: SamplingSpec) -> Said:
        """The answer to one request, which is tried twice at most; nothing is recorded.

        Raises:
            EngineError: the server refuses it, or does not answer.
        """
        sampler = HTTPSampler(
            replace(self._endpoint, tries=min(2, self._endpoint.tries)),
            with_tokens=self._with_tokens,
        )
        run = sampler._run(spec, lambda completion: None, wanted=1, succeeded=True)

        async def ask() -> Said:
            try:
                async with run.connection() as client:
                    return (await run.ask(client, chunk, cap_tokens=spec.cap_tokens))[0]
            finally:
                await run.pool.close()

        try:
            return asyncio.run(ask())
        except Transient as error:
            raise EngineError(str(error)) from None

    def pieces_of(self, said: Said, text: str) -> tuple[str, ...] | None:
        """The text of each token of a reply; None where neither server nor tokenizer tells."""
        counter = self._counter
        if counter is None:
            pieces = said.made.pieces
        elif said.made.ids is not None:
            pieces = counter.split_ids(said.made.ids)
        else:
            split = next(counter.split_all([text]))
            pieces = without_extra_mark(split, tokens=said.tokens)
        return None if pieces is None else with_thinking_mark(pieces, text)

    def _run(
        self, spec: SamplingSpec, on_completion: OnCompletion, *, wanted: int, succeeded: bool
    ) -> RequestRun:
        endpoint, counter = self._endpoint, self._counter
        logprobs = self._with_tokens and counter is None
        return RequestRun(
            endpoint,
            spec,
            make_pool(endpoint, Dialect(token_ids=self._with_tokens, logprobs=logprobs)),
            on_completion,
            FailureTally(
                concurrency=endpoint.concurrency,
                wanted=wanted,
                succeeded=succeeded,
                hand_over=lambda completion: pass_on(completion, on_completion),
            ),
            RetryLines(endpoint.tries),
            count_text=counter,
            split=self.pieces_of if self._with_tokens else None,
        )


def _drive(work: Coroutine[None, None, None]) -> None:
    try:
        asyncio.run(work)
    except RunStopped as stopped:
        raise stopped.cause from None


class _AbsentServer(Exception):
    """A server that is not there, or not yet."""

    def __init__(self, said: EngineError) -> None:
        super().__init__(str(said))
        self.said = said


def _find_model(endpoint: Endpoint, server: str) -> ListedModel | None:
    """What a server says of the model; None where it does not say.

    Raises:
        _AbsentServer: it does not answer.
        EngineError: it refuses the key, or lacks the model.
    """
    url = f"{server.rstrip('/')}/models"
    timeout = httpx.Timeout(CHECK_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        reply = httpx.get(url, headers=headers_of(endpoint), timeout=timeout, verify=certificates())
    except (httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.DecodingError) as error:
        log.warning("%s: %s: the model is not checked", url, describe(error))
        return None
    except (httpx.RequestError, httpx.InvalidURL, ValueError, ImportError) as error:
        raise _AbsentServer(unreachable(url, error)) from None
    if reply.status_code in (401, 403):
        raise refused(reply, endpoint, url=server)
    if reply.status_code in (502, 503, 504):
        raise _AbsentServer(
            EngineError(
                f"the server at {server} is not ready (HTTP {reply.status_code}); wait for it"
            )
        )
    if reply.status_code != 200:
        log.warning("%s answers HTTP %d: the model is not checked", url, reply.status_code)
        return None
    models = read_listed(reply.content)
    if models is None:
        log.warning("%s answers no list of models: the model is not checked", url)
    listed = {model.id: model for model in models or ()}
    if not may_serve(endpoint.model, listed):
        raise EngineError(
            f"the server at {server} has no model {endpoint.model!r}; "
            f"it has {excerpt(', '.join(listed))}"
        )
    if listed and endpoint.model not in listed:
        log.warning("%s does not list %s", url, endpoint.model)
    return listed.get(endpoint.model)


def _check_alike(name: str, found: dict[str, ListedModel]) -> None:
    """Refuses servers that mean different models by one name, as far as their lists say."""
    first, *others = found or [""]
    for url in others:
        for what in ("root", "max_model_len"):
            one, other = getattr(found[first], what), getattr(found[url], what)
            if one != other and None not in (one, other):
                raise ConfigError(
                    f"--endpoint {first} and {url} have different models under the name {name!r} "
                    f"({what} {one} and {other}); give servers of one model"
                )
