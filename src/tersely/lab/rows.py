"""Rows of four letters under named moves, nothing arithmetic: ``bdac>LXF?``.

L and R rotate left and right, F flips the row; X, M and Y swap the first, middle and last two;
O swaps the outer two.
"""

from zlib import crc32

import numpy as np

from tersely.lab.family import Family, Task

# Where each place of the new row comes from in the old one.
MOVES = {
    "L": (1, 2, 3, 0),
    "R": (3, 0, 1, 2),
    "F": (3, 2, 1, 0),
    "X": (1, 0, 2, 3),
    "M": (0, 2, 1, 3),
    "Y": (0, 1, 3, 2),
    "O": (3, 1, 2, 0),
}
NAMES = "".join(MOVES)
OPS_AT_LEVEL = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)


def _draw(level: int, rng: np.random.Generator) -> Task:
    return Task(
        start="".join("abcd"[place] for place in rng.permutation(4)),
        ops=tuple(
            NAMES[number] for number in rng.integers(0, len(NAMES), size=OPS_AT_LEVEL[level - 1])
        ),
    )


def _write(task: Task) -> str:
    return f"{task.start}>{''.join(task.ops)}?"


def _apply(state: str, op: str) -> str:
    return "".join(state[place] for place in MOVES[op])


def _misstep(state: str, op: str) -> str:
    others = [move for move in MOVES if move != op]
    return _apply(state, others[crc32(f"misstep {state} {op}".encode()) % len(others)])


ROWS = Family(name="rows", draw=_draw, write=_write, apply=_apply, misstep=_misstep, leap=2)
