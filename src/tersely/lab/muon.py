"""Muon in fp32: torch's own casts to bf16, which is two orders slower on such a CPU.

Source: Keller Jordan, "Muon: an optimizer for hidden layers" (2024); quintic Newton-Schulz.
"""

import torch
from jaxtyping import Float
from torch import Tensor

ITERATIONS = 5
MOMENTUM = 0.95


def orthogonalise(gradient_RC: Float[Tensor, "R C"]) -> Float[Tensor, "R C"]:
    """The nearest semi-orthogonal matrix, about: singular values land in [0.7, 1.2]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = gradient_RC if gradient_RC.shape[0] <= gradient_RC.shape[1] else gradient_RC.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if gradient_RC.shape[0] <= gradient_RC.shape[1] else x.T


class Muon:
    """Nesterov momentum, orthogonalised, on matrices only."""

    def __init__(self, matrices: list[torch.nn.Parameter]) -> None:
        self.matrices = matrices
        self.buffers = [torch.zeros_like(matrix) for matrix in matrices]

    def step(self, *, learning_rate: float) -> None:
        """One update of every matrix from its ``.grad``."""
        with torch.no_grad():
            self._update(learning_rate)

    def _update(self, learning_rate: float) -> None:
        for matrix, buffer in zip(self.matrices, self.buffers, strict=True):
            assert matrix.grad is not None
            buffer.mul_(MOMENTUM).add_(matrix.grad)
            update = orthogonalise(matrix.grad + MOMENTUM * buffer)
            scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
            matrix.add_(update, alpha=-learning_rate * scale)
