"""slime's rollout dumps: the ``.pt`` files of ``--save-debug-rollout-data``."""

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tersely.core.errors import ConfigError, DataError
from tersely.readers.completing import complete
from tersely.readers.naming import by_question
from tersely.readers.reading import Options, RawSample, Reading, benchmark_name, check_columns
from tersely.readers.rows import Row, demand
from tersely.readers.scores import finish_of
from tersely.readers.values import as_list, as_text, gold_text, prompt_id

EXPECTED = "a .pt file of slime's --save-debug-rollout-data, with a list of samples"
KEYS = ("prompt", "response", "response_length", "reward", "status")


def slime(path: Path, *, options: Options) -> Reading:
    """Reads one rollout's or evaluation's dump; the same prompt in the same group is the same
    problem.

    The file is a pickle: only plain values and tensors are unpickled, nothing in it is run. A
    reward of several parts needs ``options.columns["correct"]`` to name the verdict among them.

    Raises:
        ConfigError: a column of ours that is unknown, or torch is not installed.
        DataError: the file is not slime's, or holds more than plain values.
    """
    check_columns(options, known=("correct",), reader="slime")
    rows = _read(path)
    demand(path, rows, KEYS, expected=EXPECTED)
    masked = sum(0 in as_list(row.values.get("loss_mask")) for row in rows)
    notes = (
        [f"{masked} samples hold tokens that do not enter the loss; they are counted as well"]
        if masked
        else []
    )
    raws, more = by_question(
        list(_samples(path, rows, options=options)),
        groups=[row.values.get("group_index") for row in rows],
    )
    return complete(
        path,
        raws,
        options=options,
        score_fix="it may be a shaped reward; dump the verdict in a reward of several parts",
        notes=(*notes, *more),
    )


def _read(path: Path) -> list[Row]:
    try:
        import torch
    except ImportError as error:
        raise ConfigError("slime's files need torch: pip install 'tersely[train]'") from error
    try:
        data: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} cannot be unpickled safely ({reason:.120}); expected {EXPECTED}, of plain "
            f"values and tensors only"
        ) from error
    samples = data.get("samples") if isinstance(data, dict) else None
    if not isinstance(samples, list) or not all(isinstance(s, dict) for s in samples):
        raise DataError(f"{path} has no list of samples; expected {EXPECTED}; is --from right?")
    if not samples:
        raise DataError(f"{path} is empty; expected {EXPECTED}")
    return [Row(f"sample {number}", values) for number, values in enumerate(samples)]


def _samples(path: Path, rows: Sequence[Row], *, options: Options) -> Iterator[RawSample]:
    for row in rows:
        values = row.values
        prompt = values["prompt"]
        yield RawSample(
            place=row.place,
            problem=prompt_id(prompt),
            benchmark=benchmark_name(path, options),
            score=_score(path, row, options=options),
            tokens=values["response_length"],
            finish=finish_of(values["status"], place=f"{path}: {row.place}"),
            text=as_text(values["response"]),
            prompt=as_text(prompt),
            gold=gold_text(values.get("label")),
        )


def _score(path: Path, row: Row, *, options: Options) -> object:
    reward, asked = row.values["reward"], options.columns.get("correct")
    if not isinstance(reward, dict):
        if asked is not None:
            raise DataError(
                f"{path}: {row.place} has one reward, {reward!r}, and no part {asked!r}; leave "
                f"--column correct out"
            )
        return reward
    if asked is None and options.grader is not None:
        return None
    if asked not in reward:
        raise DataError(
            f"{path}: the reward of {row.place} has the parts {', '.join(map(str, reward))}; "
            f"name the verdict with --column correct=PART"
        )
    return reward[asked]
