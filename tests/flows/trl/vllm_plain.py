"""A general plugin of vLLM's, for tests: on a CPU it keeps its weights as they were loaded.

TRL loads its weights into vLLM's model again after every step. vLLM built for a CPU has by then
packed the old ones and thrown away the tensors that the new ones would be loaded into.
"""

from typing import Any

# Hand-overs of weights before one is left out; the first is of the weights at the start.
SYNCS = 4


def register() -> None:
    import torch
    from trl.generation.vllm_generation import VLLMGeneration
    from vllm.model_executor.layers import utils
    from vllm.platforms import current_platform

    def plain(layer: torch.nn.Module, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = plain
    # TRL leaves the type to vLLM, which takes the first of these for weights in float32.
    type(current_platform).supported_dtypes = property(lambda _: [torch.float32])
    inner, done = VLLMGeneration.sync_weights, list[None]()

    def sync_weights(self: Any) -> None:
        done.append(None)
        if len(done) <= SYNCS:
            inner(self)

    VLLMGeneration.sync_weights = sync_weights
