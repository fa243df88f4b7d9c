"""Chains of +, - and * modulo 10, worked left to right: ``7+3*2-4?``."""

from zlib import crc32

import numpy as np

from tersely.lab.family import Family, Task

OPS_AT_LEVEL = (1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 17, 20)


def _draw(level: int, rng: np.random.Generator) -> Task:
    digits = rng.integers(0, 10, size=OPS_AT_LEVEL[level - 1] + 1).tolist()
    signs = rng.integers(0, 3, size=len(digits) - 1).tolist()
    return Task(
        start=str(digits[0]),
        ops=tuple(f"{'+-*'[sign]}{digit}" for sign, digit in zip(signs, digits[1:], strict=True)),
    )


def _write(task: Task) -> str:
    return f"{task.start}{''.join(task.ops)}?"


def _apply(state: str, op: str) -> str:
    left, right = int(state), int(op[1])
    match op[0]:
        case "+":
            return str((left + right) % 10)
        case "-":
            return str((left - right) % 10)
        case _:
            return str((left * right) % 10)


def _misstep(state: str, op: str) -> str:
    off_by = 1 + crc32(f"misstep {state} {op}".encode()) % 9
    return str((int(_apply(state, op)) + off_by) % 10)


CHAINS = Family(name="chains", draw=_draw, write=_write, apply=_apply, misstep=_misstep, leap=1)
