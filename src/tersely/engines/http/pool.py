"""Several servers of one model: the least busy is asked, a lost one is left out till it is back."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

import httpx

from tersely.core.errors import EngineError
from tersely.engines.http.failures import is_of_server
from tersely.engines.http.reply import Transient, may_serve, read_models
from tersely.engines.http.request import Dialect, Endpoint, certificates, headers_of

LONGEST_PROBE_WAIT_S = 60.0
# So many failures in a row mean that a server keeps failing, and not that a request is hard.
KEEPS_FAILING = 3
PROBE_TIMEOUT_S = 15.0
log = logging.getLogger(__name__)


@dataclass
class PooledServer:
    """One server: how it wants its requests, and how many it has.

    ``in_a_row`` counts its failures since its last answer, ``left_out`` how often it was. One that
    says that it is busy is not asked before ``rests_until``, while others are there.
    """

    url: str
    dialect: Dialect
    in_flight: int = 0
    asked: int = 0
    is_up: bool = True
    in_a_row: int = 0
    left_out: int = 0
    rests_until: float = 0.0

    def is_ready(self) -> bool:
        """Whether it is there and does not rest."""
        return self.is_up and self.rests_until <= monotonic()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Counts a request while it lasts."""
        self.in_flight += 1
        self.asked += 1
        try:
            yield
        finally:
            self.in_flight -= 1


@dataclass
class ServerPool:
    """The servers of an endpoint.

    A server that is lost or keeps failing while there are others is left out. It is asked for its
    models after ``backoff_s``, twice that, and so on up to a minute, and is back once it may serve
    the model; one that is left out again waits from the start for twice as long as before.
    """

    endpoint: Endpoint
    servers: Sequence[PooledServer]
    probes: set[asyncio.Task[None]] = field(default_factory=set)

    def take(self, *, beside: Sequence[PooledServer] = ()) -> PooledServer:
        """The least busy server of those that are there and do not rest, others than ``beside``;
        of all that are there, or of all, where there is none."""
        up = [server for server in self.servers if server.is_up and server not in beside]
        ready = [server for server in up if server.is_ready()]
        return min(ready or up or self.servers, key=lambda server: (server.in_flight, server.asked))

    def has_other(self, tried: Sequence[PooledServer]) -> bool:
        """Whether a server is there, and does not rest, that has not been tried."""
        return any(server.is_ready() and server not in tried for server in self.servers)

    def note_failure(self, server: PooledServer, error: Transient | EngineError) -> None:
        """Lets a busy server rest, and leaves one out that is lost or keeps failing, where it is
        not the only one."""
        if isinstance(error, Transient) and error.is_busy:
            server.rests_until = monotonic() + max(error.asked_wait_s, self.endpoint.backoff_s)
            return
        is_lost = error.is_lost if isinstance(error, Transient) else is_of_server(error)
        server.in_a_row += 1
        if len(self.servers) < 2 or not server.is_up:
            return
        if not is_lost and server.in_a_row < KEEPS_FAILING:
            return
        server.is_up, server.in_a_row = False, 0
        server.left_out += 1
        what = "is lost" if is_lost else "keeps failing"
        log.warning("%s is left out, for it %s (%s)", server.url, what, error)
        probe = asyncio.get_running_loop().create_task(self._wait_for(server))
        self.probes.add(probe)
        probe.add_done_callback(self.probes.discard)

    def note_answer(self, server: PooledServer, *, was_up: bool) -> None:
        """A server has answered; one that was asked although it was left out is back."""
        server.in_a_row = 0
        if not was_up:
            self.take_back(server)

    def take_back(self, server: PooledServer) -> None:
        """A server that was left out is there again."""
        if not server.is_up:
            server.is_up = True
            log.warning("%s is back", server.url)

    async def is_gone(self) -> bool:
        """Whether not one server answers when it is asked for its models."""
        async with self._asking() as client:
            return not any([await self._is_there(client, server) for server in self.servers])

    async def close(self) -> None:
        """Ends the waiting for servers that are left out."""
        for probe in self.probes:
            probe.cancel()
        await asyncio.gather(*self.probes, return_exceptions=True)

    def _asking(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers=headers_of(self.endpoint), timeout=PROBE_TIMEOUT_S, verify=certificates()
        )

    async def _wait_for(self, server: PooledServer) -> None:
        wait_s = min(self.endpoint.backoff_s * 2 ** (server.left_out - 1), LONGEST_PROBE_WAIT_S)
        async with self._asking() as client:
            while not server.is_up:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_PROBE_WAIT_S)
                if await self._is_there(client, server):
                    self.take_back(server)

    async def _is_there(self, client: httpx.AsyncClient, server: PooledServer) -> bool:
        """Whether it answers and ``may_serve`` the model."""
        try:
            reply = await client.get(f"{server.url.rstrip('/')}/models")
        except (httpx.RequestError, httpx.InvalidURL, ValueError):
            return False
        models = read_models(reply.content) if reply.is_success else None
        return reply.status_code < 500 and may_serve(self.endpoint.model, models or ())


def make_pool(endpoint: Endpoint, dialect: Dialect) -> ServerPool:
    """All servers of an endpoint, each thought to be there."""
    return ServerPool(endpoint, [PooledServer(url, dialect) for url in endpoint.urls])
