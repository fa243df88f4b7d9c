"""The local sampler: continuous batching over :class:`Decoder`, one prefill a prompt.

Active rows occupy slots 0..n-1 of the cache. They run in short segments; between segments rows
that ended leave, waiting ones enter, and the slots are repacked so that slots of like length lie
together: attention then reads each block of slots only as far as its own longest row.
Axes: N active rows, S steps of a segment.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tersely.core.types import Problem, Rollout, SamplingSpec
from tersely.engines.learning.memory import memory_errors, sampling_memory
from tersely.engines.local.cache import KVCache, Span
from tersely.engines.local.decoder import Decoder
from tersely.engines.local.draw import Draw, draw
from tersely.engines.local.jobs import (
    NOTHING_MORE,
    Job,
    OnRollout,
    SampledTrace,
    check_spec,
    make_codec,
)
from tersely.engines.local.noise import row_keys, uniforms
from tersely.engines.local.pages import PagedCache

_BLOCK_ROWS = 64
_SEGMENT_STEPS = 8
_DEAD_SHARE = 1 / 16
_PREFILL_TOKENS = 4096
_WIDTH_STEP = 64


class LocalSampler:
    """Samples from a Qwen3, Qwen2 or Llama model in this process.

    Args:
        rows: most rollouts in flight at once; the cache holds that many rows.
        dtype: as for :class:`Decoder`; None is bfloat16 on a GPU, where the copy takes 2 bytes a
            weight beside the model's own, and float32 on a CPU.
        template: what the chat template is given beside the messages.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        rows: int = 256,
        dtype: torch.dtype | None = None,
        template: Mapping[str, Any] = NOTHING_MORE,
    ) -> None:
        self._model, self._rows = model, rows
        self.codec = make_codec(model, tokenizer, template=template)
        self._decoder = Decoder(model, dtype=dtype)
        self._cache: KVCache | PagedCache | None = None

    def refresh(self) -> None:
        """Takes over the model's current weights; call it after every optimizer step."""
        self._decoder.refresh(self._model)

    def sample(
        self,
        problems: Sequence[Problem],
        spec: SamplingSpec,
        *,
        skip: AbstractSet[tuple[str, int]] = frozenset(),
        on_rollout: OnRollout | None = None,
    ) -> list[list[Rollout]]:
        """``spec.samples`` rollouts a problem, in problem and sample order.

        Those whose (problem id, sample) is in ``skip`` are left out, and so are problems of which
        nothing remains. ``on_rollout`` is called once a rollout, in the order in which they end.
        """
        check_spec(spec, rows=self._rows)
        jobs = self.codec.jobs(problems, spec, skip=skip)
        return self.codec.collect(
            jobs, lambda keep: self.run(jobs, spec, on_rollout=keep), on_rollout
        )

    def run(self, jobs: Sequence[Job], spec: SamplingSpec, *, on_rollout: OnRollout) -> None:
        """Runs jobs whose prompts are given as tokens; ``on_rollout`` as each of them ends.

        Raises:
            EngineError: a prompt plus the cap does not fit the model's positions, or the rows do
                not fit into memory; those that had ended were passed on.
        """
        check_spec(spec, rows=self._rows)
        for job in jobs:
            self.codec.check(job.problem_id, len(job.prompt_ids), spec)
        if not jobs:
            return

        def finish(job: Job, trace: SampledTrace) -> None:
            on_rollout(self.codec.drawn(job, trace, spec))

        fits = memory_errors("sampling", fix=sampling_memory(self._rows))
        with torch.inference_mode(), fits:
            cache = self._cache_of(min(self._rows, len(jobs)))
            sampling = _SamplingRun(
                self._decoder, jobs, spec, self.codec.stop_ids, finish, cache=cache
            )
            try:
                sampling.drain()
            except BaseException:
                # It may hold what is no number, which would spoil the next call.
                self._cache = None
                raise

    def _cache_of(self, rows: int) -> KVCache | PagedCache:
        """The last call's cache if it has as many rows, or up to twice as many: touching fresh
        memory is slow, and an evaluation may need gigabytes more than a step of training."""
        if self._cache is None or not rows <= self._cache.rows <= 2 * rows:
            self._cache = None
            self._cache = self._decoder.new_cache(rows=rows, width=_WIDTH_STEP)
        return self._cache


def arrange(
    length_N: Int64[np.ndarray, " N"], slot_N: Int64[np.ndarray, " N"], *, block: int
) -> Int64[np.ndarray, " N"]:
    """New slots 0..N-1 that put the longest rows into the first block, and so on, with few moves.

    A row that already sits in its block stays; order within a block does not matter.

    Args:
        length_N: tokens a row holds.
        slot_N: present slot, -1 for a row that has none.
        block: slots a block.
    """
    rows = len(length_N)
    home_N = np.empty(rows, dtype=np.int64)
    home_N[np.argsort(-length_N, kind="stable")] = np.arange(rows) // block
    stays_N = (slot_N >= 0) & (slot_N < rows) & (slot_N // block == home_N)
    new_N = np.where(stays_N, slot_N, -1)
    taken_N = np.zeros(rows, dtype=np.bool_)
    taken_N[slot_N[stays_N]] = True
    free = np.flatnonzero(~taken_N)
    movers = np.flatnonzero(~stays_N)
    new_N[movers[np.argsort(home_N[movers], kind="stable")]] = free
    return new_N


class _Prompts:
    """Keys and values of prompts, each computed once and kept until its last job has entered."""

    def __init__(self, decoder: Decoder, jobs: Sequence[Job]) -> None:
        self._decoder = decoder
        self._waiting = {job.problem: job.prompt_ids for job in jobs}
        self._ready: dict[int, Tensor] = {}

    def take(self, problem: int, *, last: bool) -> Float[Tensor, "L 2 K T D"]:
        """All but the prompt's last token, which the first decode step runs; ``last`` drops it."""
        if problem not in self._ready:
            self._prefill()
        return self._ready.pop(problem) if last else self._ready[problem]

    def _prefill(self) -> None:
        """The next prompts in order, as many as fit the token budget, in one padded batch."""
        chosen: list[int] = []
        width = 1
        for problem, ids in self._waiting.items():
            wider = max(width, len(ids) - 1)
            if chosen and wider * (len(chosen) + 1) > _PREFILL_TOKENS:
                break
            chosen.append(problem)
            width = wider
        ids_GT = torch.zeros(len(chosen), width, dtype=torch.int64)
        lengths = [len(self._waiting[problem]) - 1 for problem in chosen]
        for row, (problem, length) in enumerate(zip(chosen, lengths, strict=True)):
            ids_GT[row, :length] = torch.tensor(self._waiting.pop(problem)[:length])
        kv = self._decoder.prefill(ids_GT.to(self._decoder.device)).kv
        for row, (problem, length) in enumerate(zip(chosen, lengths, strict=True)):
            self._ready[problem] = kv[:, :, row, :, :length]


_SLOT = np.dtype(
    [
        ("job", np.int64),
        ("page", np.int64),  # row of the token record, fixed for the job's life
        ("start", np.int64),  # prompt tokens already in the cache
        ("count", np.int64),  # decode steps done
        ("token", np.int64),  # next token to run
        ("dead", np.bool_),  # ended, and not yet retired
    ]
)


class _SamplingRun:
    """One ``sample`` call. Bookkeeping is numpy on the host, one record an active slot."""

    def __init__(
        self,
        decoder: Decoder,
        jobs: Sequence[Job],
        spec: SamplingSpec,
        stop_ids: frozenset[int],
        finish: Callable[[Job, SampledTrace], None],
        *,
        cache: KVCache | PagedCache,
    ) -> None:
        rows, self._cache = cache.rows, cache
        self._decoder, self._jobs, self._spec, self._finish = decoder, jobs, spec, finish
        self._queue = deque(range(len(jobs)))
        self._prompts = _Prompts(decoder, jobs)
        keys = row_keys(spec.seed, [j.problem_id for j in jobs], [j.sample for j in jobs])
        self._key_J = keys.to(decoder.device)
        stop_V = np.zeros(decoder.vocab, dtype=np.bool_)
        stop_V[[i for i in stop_ids if i < decoder.vocab]] = True
        self._stop_V = stop_V
        on_cpu = decoder.device.type == "cpu"
        # asking a GPU whether a row has ended makes it wait; splitting its batch gains nothing,
        # nor does it where the kernel reads each row only as far as it goes
        self._check_every = 1 if on_cpu else 4
        self._block = _BLOCK_ROWS if on_cpu and isinstance(cache, KVCache) else rows
        self._slots_N = np.zeros(0, dtype=_SLOT)
        self._pages = list(range(rows))
        self._token_GT = np.zeros((rows, spec.cap_tokens), dtype=np.int32)
        self._logprob_GT = np.zeros((rows, spec.cap_tokens), dtype=np.float32)
        self._entropy_GT = np.zeros((rows, spec.cap_tokens), dtype=np.float32)

    def drain(self) -> None:
        """Runs until every job has ended."""
        while len(self._slots_N) or self._queue:
            dead = int(self._slots_N["dead"].sum())
            full = bool((self._slots_N["count"] >= self._spec.cap_tokens).any())
            if not len(self._slots_N) or full or dead >= self._allowed_dead():
                self._retire()
                self._repack()
            if len(self._slots_N):
                self._segment()

    def _allowed_dead(self) -> int:
        return max(1, int(len(self._slots_N) * _DEAD_SHARE))

    def _retire(self) -> None:
        for slot in self._slots_N[self._slots_N["dead"]]:
            page, tokens = int(slot["page"]), int(slot["count"])
            token_T = self._token_GT[page, :tokens]
            stops = np.flatnonzero(self._stop_V[token_T])
            tokens = int(stops[0]) + 1 if len(stops) else tokens
            logprob_T, entropy_T = self._logprob_GT[page, :tokens], self._entropy_GT[page, :tokens]
            self._finish(
                self._jobs[slot["job"]], SampledTrace(token_T[:tokens], logprob_T, entropy_T)
            )
            self._pages.append(page)

    def _enter(self) -> np.ndarray:
        """Records of the jobs that may start now."""
        new_N = np.zeros(min(len(self._pages), len(self._queue)), dtype=_SLOT)
        for slot in new_N:
            job = self._queue.popleft()
            ids = self._jobs[job].prompt_ids
            slot["job"], slot["page"] = job, self._pages.pop()
            slot["start"], slot["token"] = len(ids) - 1, ids[-1]
        return new_N

    def _repack(self) -> None:
        """Drops dead rows, lets waiting ones in and moves the rest as ``arrange`` says."""
        live_N = np.flatnonzero(~self._slots_N["dead"])
        new_N = self._enter()
        rows_N = np.concatenate([self._slots_N[live_N], new_N])
        if not len(rows_N):
            self._slots_N = rows_N
            return
        length_N = rows_N["start"] + rows_N["count"]
        old_N = np.concatenate([live_N, np.full(len(new_N), -1)])
        slot_N = arrange(length_N, old_N, block=self._block)
        moved_N = (old_N >= 0) & (old_N != slot_N)
        self._make_room(int(length_N.max()))
        self._cache.move(
            source=old_N[moved_N].tolist(),
            target=slot_N[moved_N].tolist(),
            width=int(length_N[moved_N].max(initial=0)),
        )
        self._fill(new_N["job"], slot_N[len(live_N) :])
        self._slots_N = np.empty_like(rows_N)
        self._slots_N[slot_N] = rows_N
        if isinstance(self._cache, KVCache):
            length_N = self._slots_N["start"] + self._slots_N["count"]
            self._cache.show(torch.from_numpy(length_N).to(self._decoder.device))

    def _fill(self, job_N: np.ndarray, slot_N: np.ndarray) -> None:
        """Copies each entering group's prompt into its slots; jobs enter in problem order."""
        problem_N = np.array([self._jobs[job].problem for job in job_N], dtype=np.int64)
        for problem in np.unique(problem_N):
            inside_N = problem_N == problem
            following = int(job_N[inside_N][-1]) + 1
            waits = following < len(self._jobs) and self._jobs[following].problem == problem
            kv = self._prompts.take(int(problem), last=not waits)
            self._cache.fill(slot_N[inside_N].tolist(), kv)

    def _make_room(self, width: int) -> None:
        if width > self._cache.width:
            wanted = max(width, self._cache.width * 3 // 2)
            self._cache.widen(-(-wanted // _WIDTH_STEP) * _WIDTH_STEP)

    def _segment(self) -> None:
        """A few decode steps of all slots; ends early when enough rows have ended."""
        slots, device = self._slots_N, self._decoder.device
        length_N, count_N = slots["start"] + slots["count"], slots["count"]
        steps = min(_SEGMENT_STEPS, self._spec.cap_tokens - int(count_N.max()))
        self._make_room(int(length_N.max()) + steps)
        token_N = torch.from_numpy(slots["token"].copy()).to(device)
        position_N = torch.from_numpy(length_N).to(device)
        next_logits = self._stepper(position_N, length_N + steps)
        counts_SN = torch.from_numpy(count_N + np.arange(steps)[:, None]).to(device)
        uniform_SN = uniforms(
            self._key_J[torch.from_numpy(slots["job"].copy()).to(device)], counts_SN
        )
        ended_N = slots["dead"].copy()
        draws = []
        for step in range(steps):
            logits_NV = next_logits(token_N)
            draws.append(
                draw(logits_NV, uniform_SN[step], spec=self._spec, kernel=self._decoder.kernel)
            )
            token_N = draws[-1].token_B
            position_N += 1
            if (step + 1) % self._check_every == 0:
                token_SN = torch.stack([d.token_B for d in draws[-self._check_every :]])
                ended_N |= self._stop_V[token_SN.cpu().numpy()].any(axis=0)
                if np.count_nonzero(ended_N) >= self._allowed_dead():
                    break
        self._record(draws)

    def _stepper(
        self, position_N: Int64[Tensor, " N"], width_N: np.ndarray
    ) -> Callable[[Tensor], Tensor]:
        """What turns tokens into the next logits, at positions that the caller counts up.

        Args:
            width_N: how far each row may come.
        """
        decoder, cache = self._decoder, self._cache
        if isinstance(cache, PagedCache):
            return lambda token_N: decoder.kernel_step(token_N, position_N, cache=cache)
        windows = cache.windows(self._spans(width_N))
        # before the first step, which counts on
        place_NK = cache.places(position_N) - 1

        def step(token_N: Tensor) -> Tensor:
            return decoder.decode_step(
                token_N, position_N, cache=cache, place_BK=place_NK.add_(1), windows=windows
            )

        return step

    def _spans(self, width_N: np.ndarray) -> list[Span]:
        spans = []
        for first in range(0, len(width_N), self._block):
            last = min(first + self._block, len(width_N))
            width = -(-int(width_N[first:last].max()) // 8) * 8
            spans.append(Span(first, last, min(width, self._cache.width)))
        return spans

    def _record(self, draws: Sequence[Draw]) -> None:
        """Brings a segment's draws to the host and notes which rows have ended."""
        slots = self._slots_N
        token_SN, logprob_SN, entropy_SN = (
            torch.stack(x).cpu().numpy() for x in zip(*draws, strict=True)
        )
        page_N1 = slots["page"][:, None]
        column_NS = slots["count"][:, None] + np.arange(len(draws))
        self._token_GT[page_N1, column_NS] = token_SN.T
        self._logprob_GT[page_N1, column_NS] = logprob_SN.T
        self._entropy_GT[page_N1, column_NS] = entropy_SN.T
        slots["count"] += len(draws)
        slots["token"] = token_SN[-1]
        slots["dead"] |= self._stop_V[token_SN].any(axis=0)
        slots["dead"] |= slots["count"] >= self._spec.cap_tokens
