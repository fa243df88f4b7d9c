"""TRL's steps: of trainer_state.json, of the lines that it prints, and ms-swift's JSON lines."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.core.parsing import parse_json
from tersely.dynamics.log import COLUMNS
from tersely.readers.logged import LoggedRun, entry, json_lines, printed_pairs, read_text

# ``log_history`` of TRL 1.16, where clipping is named by the loss, and below it the names of TRL
# before 0.18 and of ms-swift.
NAMES = {
    "completions/mean_length": "tokens_mean",
    "completions/clipped_ratio": "truncated_share",
    "entropy": "entropy_mean",
    "kl": "kl_mean",
    "reward": "reward_mean",
    "frac_reward_zero_std": "zero_signal_share",
    "sampling/sampling_logp_difference/mean": "sampler_mismatch",
    "clip_ratio/region_mean": "clip_share",
    "cispo_clip_ratio": "clip_share",
    "grad_norm": "grad_norm",
    "loss": "loss",
    "learning_rate": "learning_rate",
    "completion_length": "tokens_mean",
    "mean_completion_length": "tokens_mean",
    "clipped_completions_ratio": "truncated_share",
    "response_clip_ratio": "truncated_share",
    "rollout_correction/k3_kl": "sampler_mismatch",
    "rollout_correction/log_ppl_abs_diff": "sampler_mismatch",
    "entropy/mean": "entropy_mean",
    "clip_ratio": "clip_share",
    **{f"tersely/{name}": name for name in COLUMNS},
}
ACCURACY = re.compile(r"(train/)?rewards/.+/mean")
HELD_OUT = re.compile(r"eval[_/]rewards/.+/mean")

_GIVE = (
    "give trainer_state.json of a checkpoint, the console output with its lines "
    "{'loss': ..., 'reward': ...}, or ms-swift's logging.jsonl"
)
# A dict as Python prints it, perhaps behind a progress bar; its numbers may be nan, or quoted.
_PRINTED = re.compile(r"\{'[^{}]*\}")
_OF = "global_step/max_steps"
_STATE = "trainer_state.json"
COUNTED = (
    "The printed lines do not say their step: they are counted from 1, which is right where every "
    "step was printed (logging_steps = 1)."
)


def looks_like(path: Path) -> bool:
    """A state with its history, dicts as Python prints them, or lines of ms-swift; a folder of
    checkpoints."""
    if path.is_dir():
        return bool(_states(path))
    text = read_text(path, give=_GIVE)
    if text.lstrip().startswith("{") and ('"log_history"' in text or f'"{_OF}"' in text):
        return True
    return any(len(printed_pairs(found[0])) > 2 for found in _PRINTED.finditer(text))


def trl(path: Path) -> list[LoggedRun]:
    """The logged rows by TRL's names, each with its step.

    Raises:
        DataError: the file holds nothing that TRL or ms-swift logs.
    """
    if path.is_dir():
        states = _states(path)
        if not states:
            raise DataError(f"{path} holds no trainer_state.json; {_GIVE}")
        newest = states[-1]
        return [run._replace(name=path.name) for run in trl(newest)]
    text = read_text(path, give=_GIVE)
    try:
        whole = parse_json(text)
    except ValueError as error:
        rows = list(_lines(path, text))
        if not rows:
            raise DataError(
                f"{path} is no trainer_state.json with a log_history: {error}; {_GIVE}"
            ) from error
        return [_counted(path, rows)]
    if isinstance(whole, dict) and "log_history" not in whole and _OF in whole:
        return [_counted(path, [whole])]
    try:
        history = list(whole["log_history"])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no trainer_state.json with a log_history: {error}; {_GIVE}"
        ) from error
    steps = [entry(row, place=f"{path}: entry {n}") for n, row in enumerate(history, start=1)]
    return [LoggedRun(path.name, steps)]


def _states(folder: Path) -> list[Path]:
    """The state of each checkpoint, of the last step last; the folder's own is the newest."""
    own, found = folder / _STATE, list(folder.glob(f"checkpoint-*/{_STATE}"))
    numbered = sorted(found, key=lambda file: int(re.sub(r"\D", "", file.parent.name) or 0))
    return [*numbered, *([own] if own.is_file() else [])]


def _lines(file: Path, text: str) -> Iterator[dict[str, Any]]:
    """The rows of a file of lines, each JSON or a printed dict; other lines say nothing."""
    for line, found in json_lines(file, text, start='{"'):
        if found is not None:
            yield dict(found)
            continue
        for printed in _PRINTED.findall(line):
            yield printed_pairs(printed)


def _counted(file: Path, rows: list[dict[str, Any]]) -> LoggedRun:
    """The rows with a step: the one that they name, else, where none does, their number."""
    named = [{**row, "step": str(row[_OF]).partition("/")[0]} for row in rows if _OF in row]
    named = named or [row for row in rows if "step" in row]
    if named:
        return LoggedRun(file.name, named)
    counted, number = [], 0
    for row in rows:
        if any(name.startswith("eval_") for name in row):
            told = {name: value for name, value in row.items() if name.startswith("eval_")}
            counted.append({"step": max(number, 1), **told})
        elif sum(name in NAMES for name in row) > 1 and "train_runtime" not in row:
            number += 1
            counted.append({"step": number, **row})
    return LoggedRun(file.name, counted or rows, (COUNTED,) if number else ())
