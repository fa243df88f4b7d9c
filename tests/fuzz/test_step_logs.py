"""Step logs that nobody would write: our own, TRL's, verl's and tables."""

import json
from pathlib import Path
from typing import Any

from calling import call, folder, often
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed_bytes, changed_tree

RUN = Path(__file__).parents[1] / "fixtures" / "before_h" / "run"
OURS = [json.loads(line) for line in (RUN / "steps.jsonl").read_text().splitlines()]
STEPS = range(0, 60, 2)
LONG = [OURS[0] | {"step": step, "tokens_mean": 300.0 - 4 * step} for step in STEPS]
TRL = {
    "log_history": [
        {"step": n, "completions/mean_length": 300 - n, "entropy": 0.5, "kl": 0.01, "reward": 0.4}
        for n in STEPS
    ]
}
VERL = [{"step": n, "data": {"response_length/mean": 300 - n, "actor/entropy": 0.5}} for n in STEPS]
CONSOLE = "".join(f"step:{n} - response_length/mean:{300 - n} - actor/entropy:0.5\n" for n in STEPS)
SHEET = "step,length\n" + "".join(f"{n},{300 - n}\n" for n in STEPS)


def _as_lines(rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _changed(tree: Any, write: Any, *, keep_root: bool) -> st.SearchStrategy[bytes]:
    by_value = changed_tree(tree, keep_root=keep_root).map(write)
    return by_value | by_value | changed_bytes(write(tree))


def _of(writer: str, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[str, bytes]]:
    return content.map(lambda made: (writer, made))


LOGS = (
    _of("tersely", _changed(OURS, _as_lines, keep_root=True))
    | _of("tersely", _changed(LONG, _as_lines, keep_root=True))
    | _of("trl", _changed(TRL, lambda tree: json.dumps(tree).encode(), keep_root=False))
    | _of("verl", _changed(VERL, _as_lines, keep_root=True))
    | _of("verl", changed_bytes(CONSOLE.encode()))
    | _of("csv", changed_bytes(SHEET.encode()))
)


@often(20)
@given(log=LOGS, as_json=st.booleans())
def test_diagnose_reads_or_refuses_any_step_log(log: tuple[str, bytes], as_json: bool) -> None:
    writer, content = log
    column = ("--column", "tokens_mean=length") if writer == "csv" else ()
    with folder() as here:
        (here / "log").write_bytes(content)
        shown = ("--json",) if as_json else ()
        call("diagnose", here / "log", "--from", writer, *column, *shown, kind="steps")
