"""A chat-completions server, the requests that it gets and how its refusals read."""

import json
import os
import re
import ssl
import string
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

import httpx

from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import Problem, SamplingSpec
from tersely.engines.http.continuing import Prefix, asked_of
from tersely.engines.http.reply import Transient, excerpt

LONGEST_ASKED_WAIT_S = 120.0
LARGEST_PORT = 65535
OWN_KEYS = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "n",
        "stream",
        "logprobs",
        "return_token_ids",
        "continue_final_message",
        "add_generation_prompt",
    }
)
FIXES = {
    401: "give the server's API key in the environment variable of --api-key-env",
    402: "see to the account that pays for it",
    403: "give an API key that may use this model",
    404: "see that the url ends in /v1 and that the server has this model",
    413: "shorten the prompt or raise the server's limit",
    422: "take the refused fields out of the sampling settings or --extra-body",
}

SETTINGS = {
    "temperature": "choose another with --temperature",
    "top_p": "choose another with --top-p (1 is off)",
    "top_k": "choose another with --top-k (0 is off)",
}
# n, not that of an escaped end of line, and what is sent with it.
SEVERAL = re.compile(r"(?<!\\)\bn\b|logprobs")


class Refused(EngineError):
    """A request that the server will not answer, however often it is sent; ``said``: its words."""

    def __init__(self, message: str, *, status: int, said: str = "") -> None:
        super().__init__(message)
        self.status, self.said = status, said


class Dialect(NamedTuple):
    """How a server wants its requests, learned from what it refuses.

    ``token_ids`` and ``logprobs``: it is asked for the tokens of its replies, in these ways.
    """

    cap_field: str = "max_tokens"
    stream: bool = False
    temperature: bool = True
    token_ids: bool = False
    logprobs: bool = False

    def learn(self, reply: httpx.Response, spec: SamplingSpec) -> "Dialect":
        """How to ask after this refusal; the same where it says nothing of the kind.

        A temperature of 1 is what servers sample at that take none.
        """
        said = reply.text.lower()
        if reply.status_code not in (400, 422):
            return self
        if self.cap_field == "max_tokens" and "max_completion_tokens" in said:
            return self._replace(cap_field="max_completion_tokens")
        if self.temperature and spec.temperature == 1 and "temperature" in said:
            return self._replace(temperature=False)
        if self.token_ids and "return_token_ids" in said:
            return self._replace(token_ids=False)
        if self.logprobs and "logprob" in said:
            return self._replace(logprobs=False)
        if not self.stream and "stream" in said:
            return self._replace(stream=True)
        return self


PLAIN = Dialect()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server, or several of one model, and how to use it.

    Args:
        url: up to and with the version, as in ``http://localhost:8000/v1``.
        more_urls: of further servers of the same model; requests are spread over all.
        model: the name that the server knows it by.
        concurrency: most requests in flight.
        timeout_s: for a whole request, queueing at the server included.
        tries: how often a request is sent before it counts as failed.
        samples_per_request: ``n`` of a request; 1 asks for each sample alone. Above 1 the
            server must give logprobs, which are counted to tell each sample's tokens.
        api_key: sent as a bearer token; in no message, log or repr.
        extra_body: merged into every request, such as ``chat_template_kwargs``.
        backoff_s: the first wait before a retry; doubled each time, up to a minute.
        stop_texts: stop tokens' texts, taken off a completion's end where a server leaves them.
        tokenizer: a folder of the served model's tokenizer, or its ``tokenizer.json``: counts
            what the server's counts leave out.
        seeded: send a seed with every request; some servers refuse it.
    """

    url: str
    model: str
    concurrency: int = 64
    timeout_s: float = 1800.0
    tries: int = 6
    samples_per_request: int = 1
    api_key: str | None = field(default=None, repr=False)
    extra_body: Mapping[str, object] = field(default_factory=dict)
    backoff_s: float = 1.0
    stop_texts: tuple[str, ...] = ()
    tokenizer: str | None = None
    seeded: bool = True
    more_urls: tuple[str, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """All servers, each once."""
        return tuple(dict.fromkeys((self.url, *self.more_urls)))


class Chunk(NamedTuple):
    """The samples of one problem that one request asks for, or goes on with from a prefix."""

    problem: Problem
    samples: tuple[int, ...]
    prefix: Prefix | None = None


def seed_of(spec: SamplingSpec, problem_id: str, sample: int) -> int:
    """The request's seed, 31 bits: a digest of (seed, problem id, sample index)."""
    digest = blake2b(json.dumps([spec.seed, problem_id, sample]).encode(), digest_size=4)
    return int.from_bytes(digest.digest(), "big") >> 1


def chunks_of(
    problems: Sequence[Problem],
    spec: SamplingSpec,
    *,
    skip: AbstractSet[tuple[str, int]],
    only: AbstractSet[tuple[str, int]] | None = None,
    most: int,
) -> Iterator[Chunk]:
    """Samples of ``only`` (None: all) not in ``skip``, at most ``most`` of a problem each."""
    for problem in problems:
        pairs = [(problem.id, sample) for sample in range(spec.samples)]
        left = [p[1] for p in pairs if p not in skip and (only is None or p in only)]
        for start in range(0, len(left), most):
            yield Chunk(problem, tuple(left[start : start + most]))


def body_of(
    chunk: Chunk,
    endpoint: Endpoint,
    spec: SamplingSpec,
    *,
    cap_tokens: int,
    dialect: Dialect = PLAIN,
) -> bytes:
    """The request, to the byte: the same for the same samples, whenever it is sent."""
    body: dict[str, object] = {
        "model": endpoint.model,
        **asked_of(chunk.problem, chunk.prefix),
        dialect.cap_field: cap_tokens,
    }
    if dialect.temperature:
        body["temperature"] = spec.temperature
    if endpoint.seeded:
        body["seed"] = seed_of(spec, chunk.problem.id, chunk.samples[0])
    if dialect.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if spec.top_p != 1:
        body["top_p"] = spec.top_p
    if spec.top_k > 0:
        body["top_k"] = spec.top_k
    if len(chunk.samples) > 1:
        body |= {"n": len(chunk.samples), "logprobs": True}
    if dialect.token_ids:
        body["return_token_ids"] = True
    if dialect.logprobs:
        body["logprobs"] = True
    return json.dumps(body | dict(endpoint.extra_body)).encode()


def headers_of(endpoint: Endpoint) -> dict[str, str]:
    """What goes above every request."""
    key = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    return {"Content-Type": "application/json", **key}


def certificates() -> ssl.SSLContext:
    """Whom every connection trusts. Reading them takes longer than a small request: once."""
    return _certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _certificates(file: str | None, folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()


def describe(error: httpx.RequestError | httpx.InvalidURL) -> str:
    """A connection's failure in a line. A redirect to no url is one, followed or not."""
    if isinstance(error, httpx.InvalidURL) or "location header" in str(error):
        return excerpt(f"the server redirects to what is no url: {error}")
    return excerpt(f"{type(error).__name__}: {error}".removesuffix(": "))


def unreachable(
    url: str, error: httpx.RequestError | httpx.InvalidURL | ValueError | ImportError
) -> EngineError:
    """The failure of a server that does not answer at all, and what mends it."""
    said = str(error)
    if isinstance(error, httpx.InvalidURL):
        return EngineError(f"{url}: {describe(error)}; correct --endpoint")
    if not isinstance(error, httpx.RequestError):
        return EngineError(f"a proxy of the environment cannot be used: {said}; correct HTTP_PROXY")
    fix = "start it or correct the url"
    if "CERTIFICATE" in said:
        fix = "trust its certificate with SSL_CERT_FILE=FILE, or use the host that it names"
    elif "WRONG_VERSION" in said or "record layer" in said:
        fix = "it seems to speak no TLS: use http:// in place of https://"
    host = httpx.URL(url).host
    proxy = None if proxy_bypass(host) else getproxies().get(httpx.URL(url).scheme)
    if proxy is not None:
        fix += f" (it was asked through the proxy {_nameless(proxy)}; NO_PROXY={host} goes past it)"
    return EngineError(f"no server answers at {url} ({describe(error)}); {fix}")


def _nameless(proxy: str) -> str:
    """A proxy's scheme, host and port, without the user and the password before them."""
    scheme, mark, rest = proxy.rpartition("://")
    return scheme + mark + rest.rpartition("@")[2].partition("/")[0]


def postponed(reply: httpx.Response, endpoint: Endpoint) -> Transient:
    """The failure to retry that a status of 429 or 5xx stands for; of a proxy, 502 and 503, that
    its server is lost."""
    # Retry-After may also be a date; then the backoff alone decides.
    try:
        asked_s = float(reply.headers.get("Retry-After", "0"))
    except ValueError:
        asked_s = 0.0
    return Transient(
        f"HTTP {reply.status_code} {excerpt(reply.text, secret=endpoint.api_key)}".rstrip(),
        asked_wait_s=min(asked_s, LONGEST_ASKED_WAIT_S) if asked_s > 0 else 0.0,
        is_lost=reply.status_code in (502, 503),
        is_busy=reply.status_code == 429,
    )


def refused(reply: httpx.Response, endpoint: Endpoint, *, url: str | None = None) -> Refused:
    """The failure for good that any other status stands for, with the server's words.

    Args:
        url: of the server, where there are several.
    """
    fix = FIXES.get(reply.status_code, "see what the server says and correct the settings")
    if reply.is_redirect:
        fix = _follow(reply, endpoint)
    elif reply.status_code in (400, 422):
        fix = _option_for(reply.text.lower(), endpoint) or fix
    said = f"HTTP {reply.status_code} {excerpt(reply.text, secret=endpoint.api_key)}"
    return Refused(
        f"the server at {url or endpoint.url} refuses: {said}; {fix}",
        status=reply.status_code,
        said=said.rstrip(),
    )


def _option_for(said: str, endpoint: Endpoint) -> str | None:
    """What mends a refusal that names a setting; None where it names none that was sent."""
    if endpoint.seeded and "seed" in said:
        return "leave the seed out with --no-seed"
    if endpoint.samples_per_request > 1 and SEVERAL.search(said):
        return "ask for each sample alone with --per-request 1"
    return next((fix for name, fix in SETTINGS.items() if name in said), None)


def _follow(reply: httpx.Response, endpoint: Endpoint) -> str:
    """What mends a redirect: the --endpoint that it names, where it names another."""
    named = reply.headers.get("Location", "")
    url = httpx.URL("")
    with suppress(httpx.InvalidURL, ValueError):
        url = reply.url.join(named).copy_with(query=None, fragment=None)
    there, shown = str(url).rstrip("/"), excerpt(named) or "nowhere"
    server = there.removesuffix("/chat/completions").removesuffix("/models")
    if server == there or url.scheme not in ("http", "https"):
        return (
            f"it redirects to {shown}, which is no server's url for chat completions: correct "
            "--endpoint, or log in where a proxy asks for it"
        )
    if server == endpoint.url.rstrip("/"):
        return (
            f"it redirects to {shown}, so to itself, and another --endpoint does not help: correct "
            "the settings of the server or of the proxy before it"
        )
    return f"give --endpoint the url that it points to, {excerpt(server)}"


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises :class:`ConfigError` naming the first setting that is out of its bounds."""
    for url in endpoint.urls:
        _check_url(url)
    own = sorted(OWN_KEYS & endpoint.extra_body.keys())
    key_chars = set(endpoint.api_key or "") - set(string.ascii_letters + string.digits)
    bounds = {
        "model is empty": not endpoint.model,
        f"concurrency {endpoint.concurrency} is below 1": endpoint.concurrency < 1,
        f"timeout_s {endpoint.timeout_s} is not above 0": not endpoint.timeout_s > 0,
        f"tries {endpoint.tries} is below 1": endpoint.tries < 1,
        f"samples_per_request {endpoint.samples_per_request} is below 1": (
            endpoint.samples_per_request < 1
        ),
        f"backoff_s {endpoint.backoff_s} is below 0": not endpoint.backoff_s >= 0,
        "api_key holds characters that no header can": not key_chars <= set(string.punctuation),
        f"extra_body sets {own}, which the sampling settings set": bool(own),
    }
    for message, broken in bounds.items():
        if broken:
            raise ConfigError(f"endpoint: {message}")


def _check_url(url: str) -> None:
    if "@" in url:
        raise ConfigError("endpoint: url holds a user or password; give them as api_key")
    example = "give one such as http://localhost:8000/v1"
    try:
        parsed = httpx.URL(url)
        port = parsed.port
        parsed.host.encode("idna")  # as a connection does
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise ConfigError(f"endpoint: url {url!r} is none: {error}; {example}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or url.split() != [url]:
        raise ConfigError(
            f"endpoint: url {url!r} must start with http:// or https:// and a host; {example}"
        )
    if parsed.path.rstrip("/").endswith(("/completions", "/models")) or parsed.query:
        raise ConfigError(
            f"endpoint: url {url!r} names more than the server; end it after the version: {example}"
        )
    if port is not None and not 1 <= port <= LARGEST_PORT:
        raise ConfigError(f"endpoint: url {url!r}: port {port} is outside 1 to {LARGEST_PORT}")
