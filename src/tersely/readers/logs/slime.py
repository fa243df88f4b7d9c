"""slime's metrics of its rollouts and of its learner, also as its console prints them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.readers.logged import LoggedRun, printed_pairs, read_text

# slime 0.1 to 0.3.1; the last of each are of older versions.
NAMES = {
    "rollout/response_len/mean": "tokens_mean",
    "rollout/response_lengths": "tokens_mean",
    "rollout/truncated_ratio": "truncated_share",
    "rollout/truncated": "truncated_share",
    "rollout/repetition_frac": "looping_share",
    "rollout/raw_reward": "reward_mean",
    "rollout/rewards": "reward_mean",
    "train/entropy_loss": "entropy_mean",
    "train/kl_loss": "kl_mean",
    "train/train_rollout_logprob_abs_diff": "sampler_mismatch",
    "train/pg_clipfrac": "clip_share",
    "train/grad_norm": "grad_norm",
    "train/loss": "loss",
    "train/pg_loss": "loss",
    "train/lr-pg_0": "learning_rate",
}
# eval/DATASET is the mean reward; its other figures have one more part, or pass@k.
HELD_OUT = re.compile(r"eval/(?!step$|epoch$|global_step$|loss$)[^/@]+")
# ``rollout/step``, ``train/step`` and ``eval/step``, which its TensorBoard logger drops.
CLOCKS = True
_GIVE = "give its console output, or what its tracker holds"
_CONSOLE = re.compile(r"\b(rollout|perf|eval|step) (\d+): (\{'.*\})")
_CLOCK = {"step": "train/step", "eval": "eval/step"}


def looks_like(path: Path) -> bool:
    """Lines ``rollout n: {...}`` and ``step n: {...}``."""
    return path.is_file() and next(_printed(path), None) is not None


def slime(path: Path) -> list[LoggedRun]:
    """What its console printed.

    Raises:
        DataError: it printed nothing there.
    """
    rows = list(_printed(path))
    if not rows:
        raise DataError(f"{path} holds no line that slime prints (rollout 0: {{...}}); {_GIVE}")
    return [LoggedRun(path.name, rows)]


def _printed(path: Path) -> Iterator[Mapping[str, Any]]:
    text = read_text(path, give=_GIVE)
    for found in _CONSOLE.finditer(text) if ": {'" in text else ():
        pairs = printed_pairs(found[3])
        if any(name in NAMES or HELD_OUT.fullmatch(name) for name in pairs):
            yield {**pairs, _CLOCK.get(found[1], "rollout/step"): found[2]}
