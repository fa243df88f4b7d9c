"""A chat-completions server in a thread, whose faults the tests choose, and sampling from it."""

import asyncio
import contextlib
import json
import random
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, NamedTuple

from tersely.core.types import Completion, Problem, SamplingSpec
from tersely.engines.http.sampler import Endpoint, HTTPSampler

Body = dict[str, Any]


class Raw(NamedTuple):
    """Bytes that are written as they are after a while; then the connection is closed, or reset."""

    content: bytes
    after_s: float = 0.0
    reset: bool = False


# (status, headers, body); a body shorter than its Content-Length is a reply cut off.
Answer = tuple[int, dict[str, str], bytes] | Raw
STALL_S = 30.0
SPEC = SamplingSpec(samples=4, cap_tokens=512, seed=7)


def completion(*choices: Body, tokens: int | None, **usage: Any) -> Body:
    """A reply's JSON; without usage if ``tokens`` is None."""
    counted = {} if tokens is None else {"usage": {"completion_tokens": tokens, **usage}}
    return {"object": "chat.completion", "choices": list(choices), **counted}


def choice(
    content: str | None, *, index: int = 0, finish: str | None = "stop", **rest: Any
) -> Body:
    """One choice; ``rest`` goes into its message."""
    message = {"role": "assistant", "content": content, **rest}
    return {"index": index, "finish_reason": finish, "message": message}


def reply(body: Body, *, status: int = 200, **headers: str) -> Answer:
    """A whole answer."""
    return status, headers, json.dumps(body).encode()


def echo(body: Body) -> Answer:
    """A text that tells which request it answers; as many tokens as it has characters."""
    text = f"{body['messages'][0]['content'].upper()} seed {body['seed']}"
    return reply(completion(choice(text), tokens=len(text)))


@dataclass
class Faults:
    """Which share of requests meets a fault, drawn by the seed; at most ``most`` a request."""

    seed: int
    share: float
    most: int
    met: Counter[str] = field(default_factory=Counter)
    count: Counter[bytes] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def draw(self, raw: bytes) -> str | None:
        """The fault that this request meets now."""
        if self.rng.random() > self.share or self.count[raw] >= self.most:
            return None
        kind = self.rng.choices(
            ["429", "500", "malformed", "cut", "gone", "stall"], [4, 4, 4, 4, 4, 1]
        )
        self.count[raw] += 1
        self.met[kind[0]] += 1
        return kind[0]


@dataclass
class Server:
    """What a test may set (``answer``, ``models``) and see (the rest)."""

    url: str = ""
    answer: Callable[[Body], Answer] = echo
    models: Answer = field(default_factory=lambda: reply({"data": [{"id": "m"}]}))
    faults: Faults | None = None
    bodies: list[Body] = field(default_factory=list)
    tries: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    headers: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    delay_s: float = 0.0
    is_dead: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self.serve_one(reader, writer):
                pass
        writer.close()

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """True if the connection lives on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.headers.append(head)
        size = next((h for h in head.split("\r\n") if h.lower().startswith("content-length")), ":0")
        raw = await reader.readexactly(int(size.split(":")[1]))
        if self.is_dead:
            return False
        if head.startswith("GET"):
            return await self.send(writer, self.models)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.chat(raw, writer)
        finally:
            self.in_flight -= 1

    async def chat(self, raw: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answers one request for a completion, or does not."""
        body = json.loads(raw)
        self.bodies.append(body)
        asked = body["messages"][0]["content"] if "messages" in body else body.get("prompt")
        self.tries[f"{asked} {body.get('seed')}"].append(raw)
        await asyncio.sleep(self.delay_s)
        match self.faults.draw(raw) if self.faults else None:
            case "429":
                busy = reply({"error": "busy"}, status=429, **{"Retry-After": "0.01"})
                return await self.send(writer, busy)
            case "500":
                return await self.send(writer, reply({"error": "oh"}, status=500))
            case "malformed":
                return await self.send(writer, (200, {}, b'{"choices": [{"index": 0, nonsense'))
            case "cut":
                return await self.send(writer, self.answer(body), cut=True)
            case "gone":
                return False
            case "stall":
                await asyncio.sleep(STALL_S)
                return False
        answer = self.answer(body)
        return not self.is_dead and await self.send(writer, answer)  # it may have died of it

    async def send(
        self, writer: asyncio.StreamWriter, answer: Answer, *, cut: bool = False
    ) -> bool:
        """Writes an answer, or half of it and no more."""
        if isinstance(answer, Raw):
            await asyncio.sleep(answer.after_s)
            writer.write(answer.content)
            await writer.drain()
            if answer.reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
            return False
        status, headers, body = answer
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        writer.write(body[: len(body) // 2] if cut else body)
        await writer.drain()
        return not cut


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Serves on an unused port of the loopback until the end of the block."""
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stop.wait()
        listening.close()

    # asyncio.run cancels the connections that are still open.
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)


def make_problems(count: int) -> list[Problem]:
    """Problems with an id and a prompt of their own."""
    return [
        Problem(id=f"p/{i}", prompt=f"Question {i}: how many?", answer="1", source="made")
        for i in range(count)
    ]


def endpoint(server: Server, **settings: Any) -> Endpoint:
    """The server's, in a hurry."""
    quick = {"concurrency": 8, "timeout_s": 5.0, "tries": 3, "backoff_s": 0.002}
    return Endpoint(url=server.url, model="m", **{**quick, **settings})


def sample(
    server: Server,
    *,
    problems: int = 1,
    spec: SamplingSpec = SPEC,
    skip: Set[tuple[str, int]] = frozenset(),
    **settings: Any,
) -> list[Completion]:
    """What arrives, in the order in which it does."""
    found: list[Completion] = []
    HTTPSampler(endpoint(server, **settings)).sample(
        make_problems(problems), spec, skip=skip, on_completion=found.append
    )
    return found


def pairs(completions: Iterable[Completion]) -> list[tuple[str, int]]:
    """Whose samples these are, sorted."""
    return sorted((c.problem_id, c.sample) for c in completions)
