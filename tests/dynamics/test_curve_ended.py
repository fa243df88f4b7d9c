"""A curve that ends while the run goes on is an alarm, whoever wrote the log."""

import csv
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import StepRecord
from tersely.dynamics.alarms import first_alarms
from tersely.dynamics.log import COLUMNS, StepLog, make_log
from tersely.flows.diagnose import diagnose

SAID = "loss, grad_norm and entropy_mean have no finite value from step 21"
NAMES = {
    "trl": {"loss": "loss", "grad_norm": "grad_norm", "entropy": "entropy_mean"},
    "verl": {"actor/pg_loss": "loss", "actor/grad_norm": "grad_norm", "actor/entropy": "x"},
    "csv": {"loss": "loss", "grad_norm": "grad_norm", "entropy_mean": "x"},
}
LENGTH = {"trl": "completions/mean_length", "verl": "response_length/mean", "csv": "tokens_mean"}


def ended(at: int, steps: int = 40, **others: object) -> StepLog:
    loss_N = np.where(np.arange(1, steps + 1) < at, 0.5, np.nan)
    return make_log(
        range(1, steps + 1), {"loss": loss_N, "tokens_mean": np.full(steps, 9), **others}
    )


def written(folder: Path, writer: str, *, bad: float) -> Path:
    """A log of 40 steps, three curves of which end with step 20."""
    if writer == "tersely":
        whole = {f.name: 1.0 for f in fields(StepRecord) if f.name in COLUMNS}
        lost = dict.fromkeys(("loss", "grad_norm", "entropy_mean"), bad)
        kinds = {f.name: int for f in fields(StepRecord) if f.type in (int, "int")}
        records = [{**whole, **(lost if step > 20 else {}), "step": step} for step in range(1, 41)]
        made = [
            StepRecord(**{k: kinds.get(k, float)(v) for k, v in record.items()})
            for record in records
        ]
        jsonl.write(folder / "steps.jsonl", made)
        return folder
    rows = [
        {"step": s, LENGTH[writer]: 100.0, **dict.fromkeys(NAMES[writer], bad if s > 20 else 0.5)}
        for s in range(1, 41)
    ]
    file = folder / "log"
    if writer == "trl":
        file.write_text(json.dumps({"log_history": rows}))
    elif writer == "verl":
        lines = ({"step": row.pop("step"), "data": row} for row in rows)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        with file.open("w", newline="") as out:
            table = csv.DictWriter(out, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    return file


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("writer", ["tersely", "trl", "verl", "csv"])
def test_curves_that_end_are_said_of_every_log(writer: str, bad: float, tmp_path: Path) -> None:
    words = ["diagnose", str(written(tmp_path, writer, bad=bad)), "--from", writer]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    said = " ".join(done.stdout.split())
    assert "curve ended, first seen at step 25" in said
    assert f"Note: {SAID} to 40, the last." in said
    assert "No alarm" not in said
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert {alarm["name"]: alarm["evidence"] for alarm in found["alarms"]}["curve ended"] == SAID


def test_it_is_named_in_a_run_too_short_for_other_alarms_and_after_five_records() -> None:
    (alarm,) = first_alarms(ended(3, steps=8))
    assert (alarm.name, alarm.step) == ("curve ended", 7)
    assert first_alarms(ended(37)) == []
    assert [alarm.step for alarm in first_alarms(ended(36))] == [40]


def test_curves_that_end_at_two_steps_are_both_said() -> None:
    kl_N = np.where(np.arange(40) < 30, 0.1, np.nan)
    found = diagnose(ended(11, kl_mean=kl_N))
    assert (
        "loss has no finite value from step 11, and kl_mean has no finite value from step 31 to "
        "40, the last."
    ) in found.unknown


def test_gaps_late_starts_and_parts_of_rollouts_are_no_end() -> None:
    sparse_N = np.where(np.arange(60) % 5 == 0, 0.5, np.nan)
    late_N = np.where(np.arange(60) >= 30, 0.5, np.nan)
    gap_N = np.where((np.arange(60) > 20) & (np.arange(60) < 25), np.nan, 0.5)
    part_N = np.where(np.arange(60) < 30, 50, np.nan)
    for columns in (
        {"loss": sparse_N},
        {"accuracy": late_N},
        {"entropy_mean": gap_N},
        {"wrong_tokens_mean": part_N},
        {"kl_mean": np.full(60, np.nan)},
    ):
        assert first_alarms(make_log(range(60), {"tokens_mean": np.full(60, 9), **columns})) == []


def test_steps_without_a_signal_have_no_loss_and_are_no_end() -> None:
    idle_N = np.where(np.arange(40) >= 20, 0, 500)
    assert first_alarms(ended(21, update_tokens=idle_N)) == []
    # Some steps without a signal hide no loss that is NaN at the others.
    some_N = np.where(np.arange(40) % 2, 0, 500)
    (alarm,) = first_alarms(ended(21, update_tokens=some_N))
    assert alarm.evidence == "loss has no finite value from step 21"


def test_a_curve_that_never_was_is_said_apart_from_what_is_not_in_the_log() -> None:
    found = diagnose(make_log(range(40), {"tokens_mean": np.full(40, 9), "loss": [np.nan] * 40}))
    assert "Without a finite value at any step: loss." in found.unknown


def test_single_records_without_a_finite_value_are_named_and_sparse_curves_are_not() -> None:
    loss_N, norm_N = np.full(60, 0.5), np.full(60, 1.0)
    loss_N[[20, 41]], norm_N[20] = np.inf, np.nan
    sparse_N = np.where(np.arange(60) % 5 == 0, 0.5, np.nan)
    columns = {"loss": loss_N, "grad_norm": norm_N, "kl_mean": sparse_N}
    said = diagnose(make_log(range(60), columns)).unknown
    assert "No finite value, alone: loss at step 20, 41; grad_norm at step 20." in said
    # Nothing was learned at that step, so it has no loss.
    idle = {"loss": np.where(np.arange(60) == 20, np.nan, 0.5)}
    idle["update_tokens"] = np.where(np.arange(60) == 20, 0, 500)
    assert not any("alone" in note for note in diagnose(make_log(range(60), idle)).unknown)


def test_a_record_of_nothing_but_nan_is_named() -> None:
    blank_N = np.where(np.arange(60) == 30, np.nan, 0.5)
    columns = dict.fromkeys(("loss", "grad_norm", "accuracy", "tokens_mean"), blank_N)
    (said,) = (n for n in diagnose(make_log(range(60), columns)).unknown if "alone" in n)
    assert all(f"{name} at step 30" in said for name in columns)
