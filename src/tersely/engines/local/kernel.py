"""What a decode step does between its matrix products, in C (kernel.c), for float32 on a CPU.

The user's own C compiler builds it once for each machine and compiler, in a second or two, into
the user's cache. Where there is none, the decoder does the same with torch.
"""

import contextlib
import ctypes
import hashlib
import os
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Complex64, Float, Int64
from torch import Tensor

from tersely.core.cache import cache_folder

MAX_HEAD_DIM = 256
_SOURCE = Path(__file__).with_name("kernel.c")
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC")
# Threads are torch's own: the OpenMP runtime is the one that torch has loaded, so none is linked.
# Where that fails, as with another compiler than torch's, the kernel runs in one thread.
_THREADS = ("-fopenmp", "-fopenmp-simd")
_COMPILE_S = 60
# Numbers below which a second thread costs more than it saves.
_WORTH_A_THREAD = 32_768
_POINTER, _INT, _LONG, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float


class Kernel:
    """The compiled functions, on contiguous tensors. Each writes into its last tensor."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._rms, self._swiglu, self._attend = library.rms, library.swiglu, library.attend
        self._rms.argtypes = [_POINTER] * 2 + [_INT] * 2 + [_FLOAT, _INT]
        self._swiglu.argtypes = [_POINTER] * 2 + [_INT] * 3
        self._attend.argtypes = [_POINTER] * 6 + [_INT] * 5 + [_FLOAT, _INT]
        self._product, self._step, self._choose = library.product, library.step, library.choose
        self._product.argtypes = [_POINTER] * 3 + [_INT] * 5
        spare: list[Any] = [_LONG, _INT, _POINTER, _LONG]
        self._step.argtypes = [_POINTER] * 4 + spare + [_POINTER] + [_INT] * 2
        self._choose.argtypes = [_POINTER] * 5 + [_INT] * 2
        for each in (
            self._rms,
            self._swiglu,
            self._attend,
            self._product,
            self._step,
            self._choose,
        ):
            each.restype = None

    def rms(self, x_BE: Float[Tensor, "B E"], out_BE: Float[Tensor, "B E"], *, eps: float) -> None:
        """``x / sqrt(mean(x**2) + eps)``, row by row."""
        rows, size = x_BE.shape
        threads = _threads(rows * size)
        self._rms(x_BE.data_ptr(), out_BE.data_ptr(), rows, size, eps, threads)

    def swiglu(self, gate_up: Float[Tensor, "B GU"], out_BF: Float[Tensor, "B F"]) -> None:
        """``silu(gate) * up``."""
        rows, size = out_BF.shape
        threads = _threads(rows * size)
        self._swiglu(gate_up.data_ptr(), out_BF.data_ptr(), rows, size, threads)

    def attend(
        self,
        qkv: Float[Tensor, "B QKV"],
        gain: Float[Tensor, "HK D"] | None,
        rotation_P1D: Complex64[Tensor, "P 1 half"],
        position_B: Int64[Tensor, " B"],
        pages: Float[Tensor, "C K 2 N PD"],
        out: Float[Tensor, "B HD"],
        *,
        eps: float,
    ) -> None:
        """Norm, rotation, storage and attention of one token a row; ``qkv`` is overwritten.

        Args:
            pages: one layer of a :class:`PagedCache` of at least B rows.
        """
        rows, dim = qkv.shape[0], 2 * rotation_P1D.shape[-1]
        self._attend(
            qkv.data_ptr(),
            None if gain is None else gain.data_ptr(),
            rotation_P1D.data_ptr(),
            position_B.data_ptr(),
            pages.data_ptr(),
            out.data_ptr(),
            rows,
            out.shape[1] // dim,
            pages.shape[1],
            pages.shape[3],
            dim,
            eps,
            torch.get_num_threads() if rows > 1 else 1,
        )

    def choose(
        self,
        p_BV: Float[Tensor, "B V"],
        logp_BV: Float[Tensor, "B V"],
        share_B: Float[Tensor, " B"],
    ) -> tuple[Int64[Tensor, " B"], Float[Tensor, " B"]]:
        """``first_beyond``, or the last token where there is none, and its log-probability.

        Args:
            share_B: float64.
        """
        rows, cells = p_BV.shape
        token_B, chosen_B = torch.empty(rows, dtype=torch.int64), p_BV.new_empty(rows)
        share_B = share_B.contiguous()
        arrays = (p_BV, logp_BV, share_B, token_B, chosen_B)
        self._choose(*(x.data_ptr() for x in arrays), rows, cells)
        return token_B, chosen_B

    def product(
        self,
        x_BE: Float[Tensor, "B E"],
        panels: Float[Tensor, "panels E PANEL"],
        out_BM: Float[Tensor, "B M"],
        *,
        depth: int,
        add: bool,
    ) -> None:
        """``x @ weight.T``, or that added to what ``out`` holds, from ``in_panels(weight)``.

        Args:
            depth: inputs of one sum, which begins anew after each so many.
        """
        sizes = (*x_BE.shape, out_BM.shape[1], depth, add)
        self._product(x_BE.data_ptr(), panels.data_ptr(), out_BM.data_ptr(), *sizes)

    def step(
        self,
        model: Any,
        token_B: Int64[Tensor, " B"],
        position_B: Int64[Tensor, " B"],
        pages: Float[Tensor, "L C K 2 N PD"],
        spare: Float[Tensor, "threads size"],
        logits_BV: Float[Tensor, "B V"],
    ) -> None:
        """A whole decode step of a :class:`PanelModel`, whose record ``model`` points to."""
        rows, threads = len(token_B), torch.get_num_threads()
        self._step(
            model,
            token_B.data_ptr(),
            position_B.data_ptr(),
            pages.data_ptr(),
            pages.shape[1],
            pages.shape[4],
            spare.data_ptr(),
            spare.shape[1],
            logits_BV.data_ptr(),
            rows,
            threads if rows > 1 else 1,
        )


@cache
def load_kernel() -> Kernel | None:
    """The kernel, built if need be; None where no C compiler (``CC``, or ``cc``) can build it."""
    for threads in _THREADS:
        try:
            compiler = shlex.split(os.environ.get("CC") or "cc")
            return _kernel(compiler, (*_FLAGS, threads))
        except (ValueError, subprocess.TimeoutExpired):
            return None
        except (OSError, AttributeError, subprocess.SubprocessError):
            continue
    return None


def _kernel(compiler: list[str], flags: tuple[str, ...]) -> Kernel:
    """From the user's cache, or built and kept there.

    A library is named by source, compiler, what the machine can do, and its own content, so that a
    damaged one is built again; one that somebody else could have written is not loaded.
    """
    machine = _run([*compiler, *flags, "-dM", "-E", "-x", "c", os.devnull])
    parts = (_SOURCE.read_bytes(), machine, shlex.join([*compiler, *flags]).encode())
    known = _digest(b"\0".join(parts))
    folder = _folder()
    if folder is None:
        with tempfile.TemporaryDirectory() as elsewhere:
            return _made(compiler, flags, known, folder=Path(elsewhere))
    return _kept(folder, known) or _made(compiler, flags, known, folder=folder)


def _folder() -> Path | None:
    """The one for libraries in the user's cache; None where there is none to trust."""
    with contextlib.suppress(OSError):
        folder = cache_folder() / "kernel"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_private(folder) and os.access(folder, os.W_OK):
            return folder
    return None


def _kept(folder: Path, known: str) -> Kernel | None:
    for library in folder.glob(f"{known}-*.so"):
        if _is_private(library) and library.name == _name(known, library):
            return Kernel(ctypes.CDLL(str(library)))
    return None


def _made(compiler: list[str], flags: tuple[str, ...], known: str, *, folder: Path) -> Kernel:
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        made = Path(inside) / "kernel"
        _run([*compiler, *flags, "-x", "c", "-c", str(_SOURCE), "-o", f"{made}.o"])
        # without the flag for threads, which would bring in a second OpenMP runtime
        _run([*compiler, "-shared", f"{made}.o", "-lm", "-o", f"{made}.so"])
        kernel = Kernel(ctypes.CDLL(f"{made}.so"))
        os.replace(f"{made}.so", folder / _name(known, Path(f"{made}.so")))
    return kernel


def _name(known: str, library: Path) -> str:
    return f"{known}-{_digest(library.read_bytes())}.so"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _is_private(path: Path) -> bool:
    """Whether it is this user's, and nobody else may write to it."""
    found = path.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _run(command: list[str]) -> bytes:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_COMPILE_S
    )
    return done.stdout


def _threads(numbers: int) -> int:
    return torch.get_num_threads() if numbers >= _WORTH_A_THREAD else 1
