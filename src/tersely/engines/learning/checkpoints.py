"""Checkpoints: Hugging Face format plus optimizer and run state, whole or not there at all.

A checkpoint is written beside its final name, flushed to disk and renamed; whatever carries the
final name is complete. Old ones are renamed away before they are deleted, for the same reason.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tersely.core.digests import check_digests, note_checkpoint
from tersely.core.errors import ConfigError, DataError, StorageError, no_checkpoint
from tersely.core.parsing import parse_json
from tersely.core.storage import flush, writing
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.lora import has_lora, load_adapter, save_adapter, save_merged

_SCHEMA = 1
_STATE = "state.json"
_OPTIMIZER = "optimizer.pt"
_ADAPTER = "adapter"
# What torch, safetensors and transformers raise on a damaged file or another model's weights.
_UNREADABLE = (
    RuntimeError, ValueError, KeyError, OSError, EOFError, UnpicklingError, SafetensorError
)  # fmt: skip
_NAME = re.compile(r"step-(\d{6,})")


class Restored(NamedTuple):
    """Where a run continues: steps done, and the ``extra`` that was saved with them."""

    step: int
    extra: dict[str, Any]


def save(
    folder: Path,
    step: int,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    learner: LocalLearner,
    extra: Mapping[str, Any],
) -> Path:
    """Write ``folder/step-NNNNNN`` and return it; ``extra`` is anything JSON can hold.

    A step is saved once: if its checkpoint is there, it stays as it is. A model with adapters is
    saved merged, as any model folder, and the adapter beside it in peft's format: a run resumes
    from the adapter, to the bit.
    """
    final = folder / f"step-{step:06d}"
    if final.exists():
        return final
    partial = final.with_suffix(".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(final):
            _write(partial, step, model=model, tokenizer=tokenizer, learner=learner, extra=extra)
    except StorageError:
        shutil.rmtree(partial, ignore_errors=True)  # a part of one only takes room
        raise
    os.replace(partial, final)
    flush(folder)
    return final


def _write(
    partial: Path,
    step: int,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    learner: LocalLearner,
    extra: Mapping[str, Any],
) -> None:
    partial.mkdir(parents=True)
    if has_lora(model):
        save_merged(model, partial)
        save_adapter(model, partial / _ADAPTER)
    else:
        model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    torch.save(learner.state_dict(), partial / _OPTIMIZER)
    files = {str(file.relative_to(partial)): file.stat().st_size for file in _files(partial)}
    state = {"schema": _SCHEMA, "step": step, "files": files, "extra": dict(extra)}
    (partial / _STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
    note_checkpoint(partial)
    for path in (*partial.rglob("*"), partial):
        flush(path)


def latest(folder: Path, *, most_step: int | None = None) -> Path | None:
    """The checkpoint of the highest step, or None. Unfinished ones do not count.

    Args:
        most_step: the highest step that counts; None is any.
    """
    found = [p for p in _checkpoints(folder) if most_step is None or step_of(p) <= most_step]
    return found[-1] if found else None


def find(folder: Path, step: int) -> Path:
    """The checkpoint of a step.

    Raises:
        ConfigError: there is none; names those that are kept.
    """
    found = {step_of(path): path for path in _checkpoints(folder)}
    if step not in found:
        raise ConfigError(no_checkpoint(step, folder, found))
    return found[step]


def drop_after(folder: Path, step: int) -> None:
    """Deletes the checkpoints of later steps."""
    for path in _checkpoints(folder):
        if step_of(path) > step:
            path.rename(path.with_suffix(".tmp"))
    _clear(folder)


def step_of(path: Path) -> int:
    """The step that a checkpoint's name says."""
    return int(path.name.removeprefix("step-"))


def load(path: Path, *, model: PreTrainedModel, learner: LocalLearner) -> Restored:
    """Put the saved weights into ``model`` and the saved optimizer into ``learner``.

    Raises:
        ConfigError: if ``path`` is not a complete checkpoint of this package and this model.
    """
    state = _read_state(path)
    for name, size_bytes in state["files"].items():
        file = path / name
        found_bytes = file.stat().st_size if file.is_file() else 0
        if found_bytes != size_bytes:
            raise _unusable(path, f"{name} has {found_bytes} bytes, not {size_bytes}")
    if (path / _ADAPTER).is_dir() != has_lora(model):
        lacks, has = ("it", "the model") if has_lora(model) else ("the model", "it")
        raise _unusable(path, f"{has} has a LoRA adapter and {lacks} has none")
    try:
        learner_state = torch.load(path / _OPTIMIZER, map_location="cpu", weights_only=True)
        if has_lora(model):
            load_adapter(model, path / _ADAPTER)
        else:
            saved = type(model).from_pretrained(path, dtype=model.dtype, local_files_only=True)
            model.load_state_dict(saved.state_dict())
        learner.load_state_dict(learner_state)
    except _UNREADABLE as error:
        raise _unusable(path, f"it does not load into this model ({error})") from error
    try:
        check_digests(path)
    except DataError as error:
        raise _unusable(path, str(error)) from error
    return Restored(step=state["step"], extra=state["extra"])


def prune(folder: Path, *, keep: int = 2) -> None:
    """Delete all but the ``keep`` highest steps, and what an interrupted save or prune left."""
    if keep < 1:
        raise ConfigError(f"keep {keep} checkpoints is below 1; a run needs one to resume from")
    for path in _checkpoints(folder)[:-keep]:
        path.rename(path.with_suffix(".tmp"))
    _clear(folder)


def _clear(folder: Path) -> None:
    """Deletes what was renamed away or never finished."""
    for path in folder.glob("step-*.tmp"):
        if _NAME.fullmatch(path.stem):
            shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    """All complete checkpoints, by step."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = parse_json((path / _STATE).read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(path, f"{_STATE} cannot be read ({error})") from error
    wanted = {"schema": int, "step": int, "files": dict, "extra": dict}
    if not isinstance(state, dict) or set(state) != set(wanted):
        raise _unusable(path, f"{_STATE} must hold exactly {', '.join(wanted)}")
    for key, kind in wanted.items():
        if not isinstance(state[key], kind):
            raise _unusable(path, f"{key} in {_STATE} is {state[key]!r}")
    if state["schema"] != _SCHEMA:
        raise _unusable(path, f"its schema is {state['schema']}, this version reads {_SCHEMA}")
    if _OPTIMIZER not in state["files"]:
        raise _unusable(path, f"{_STATE} lists no {_OPTIMIZER}")
    return state


def _unusable(path: Path, reason: str) -> ConfigError:
    run, others = path.parent.parent, [step_of(each) for each in _checkpoints(path.parent)]
    others = [step for step in others if step < step_of(path)]
    again = (
        f"resume from another step, of which {', '.join(map(str, others))} "
        f"{'are' if len(others) > 1 else 'is'} kept: tersely train {run / 'recipe.toml'} "
        f"--out {run} --resume-from {others[-1]}"
        if others
        else "no older one is kept to resume from another step: start a new run in another --out"
    )
    return ConfigError(f"{path} is not a usable checkpoint: {reason}; {again}")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
