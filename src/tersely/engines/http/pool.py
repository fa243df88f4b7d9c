"""Several servers of one model: the least busy is asked, a lost one is left out till it is back."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tersely.engines.http.reply import read_models
from tersely.engines.http.request import Dialect, Endpoint, headers_of

LONGEST_PROBE_WAIT_S = 60.0
PROBE_TIMEOUT_S = 15.0
log = logging.getLogger(__name__)


@dataclass
class PooledServer:
    """One server: how it wants its requests, and how many it has."""

    url: str
    dialect: Dialect
    in_flight: int = 0
    asked: int = 0
    is_up: bool = True

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

    A server that is lost while there are others is left out. It is asked for its models after
    ``backoff_s``, twice that, and so on up to a minute, and is back once it lists the model.
    """

    endpoint: Endpoint
    servers: Sequence[PooledServer]
    probes: set[asyncio.Task[None]] = field(default_factory=set)

    def take(self) -> PooledServer:
        """The least busy server of those that are there; of all, where none is."""
        up = [server for server in self.servers if server.is_up]
        return min(up or self.servers, key=lambda server: (server.in_flight, server.asked))

    def leave_out(self, server: PooledServer, why: str) -> bool:
        """Leaves a lost server out; whether another is there to be asked in its place."""
        if len(self.servers) > 1 and server.is_up:
            server.is_up = False
            log.warning("%s is left out, for it is lost (%s)", server.url, why)
            probe = asyncio.get_running_loop().create_task(self._wait_for(server))
            self.probes.add(probe)
            probe.add_done_callback(self.probes.discard)
        return any(other.is_up for other in self.servers if other is not server)

    def take_back(self, server: PooledServer) -> None:
        """A server has answered."""
        if not server.is_up:
            server.is_up = True
            log.warning("%s is back", server.url)

    async def close(self) -> None:
        """Ends the waiting for servers that are left out."""
        for probe in self.probes:
            probe.cancel()
        await asyncio.gather(*self.probes, return_exceptions=True)

    async def _wait_for(self, server: PooledServer) -> None:
        wait_s = self.endpoint.backoff_s
        async with httpx.AsyncClient(
            headers=headers_of(self.endpoint), timeout=PROBE_TIMEOUT_S
        ) as client:
            while not server.is_up:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_PROBE_WAIT_S)
                if await self._is_there(client, server):
                    self.take_back(server)

    async def _is_there(self, client: httpx.AsyncClient, server: PooledServer) -> bool:
        """A server without a list of models is there when it answers at all."""
        try:
            reply = await client.get(f"{server.url.rstrip('/')}/models")
        except (httpx.RequestError, httpx.InvalidURL, ValueError):
            return False
        models = read_models(reply.content) if reply.is_success else None
        serves = not models or self.endpoint.model in models
        return reply.status_code < 500 and serves


def make_pool(endpoint: Endpoint, dialect: Dialect) -> ServerPool:
    """All servers of an endpoint, each thought to be there."""
    return ServerPool(endpoint, [PooledServer(url, dialect) for url in endpoint.urls])
