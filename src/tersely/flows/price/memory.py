"""GPU memory while learning and while sampling, in bytes."""

from math import ceil
from typing import NamedTuple

from tersely.flows.price.architecture import Architecture
from tersely.flows.price.roofline import WEIGHT_BYTES, Gpu
from tersely.flows.recipe.recipe import Recipe

# A trained weight: master, AdamW's two moments and the gradient in float32, and the bfloat16 copy
# that is computed with.
TRAINED_BYTES = 4 + 4 + 4 + 4 + 2
# A frozen weight as it is loaded (float32), and its bfloat16 copy.
FROZEN_BYTES = 4 + 2
# The reference model of a KL estimate: a second, frozen one in float32.
REFERENCE_BYTES = 4
# A logit in bfloat16, in float32, and its gradient in float32.
LOGIT_BYTES = 2 + 4 + 4
# Left for CUDA itself, communication, gathered layers and fragments.
USABLE_SHARE = 0.9


# Tokens of a prompt, chat template included: the rates and mean lengths of NeMo-RL's performance
# pages leave 103 (Qwen3) to 132 (Llama-3.1) for a problem of OpenMathInstruct-2.
PROMPT_TOKENS = 125


class Setup(NamedTuple):
    """How an engine lies on GPUs, each of which learns and samples in turn.

    ``sharded``: weights, optimizer and gradients are shared out; else each GPU has them all.
    ``tensor_parallel``: GPUs that hold one copy of the sampler. ``rows``: most rows that a sampler
    has in flight, None as many as fit. ``sampler_share``: of a GPU's memory, for the sampler's
    weights and cache. ``handover``: the sampler is an engine of its own (vLLM, SGLang), which the
    weights are copied to. ``sampling_gpus``: beside the others, which then only learn, while these
    only sample, a step ahead. ``local``: our own loop, which scores the old policy more rarely.
    """

    gpus: int = 1
    sharded: bool = True
    tensor_parallel: int = 1
    rows: int | None = None
    sampler_share: float = 1.0
    handover: bool = False
    sampling_gpus: int = 0
    local: bool = False

    @property
    def all_gpus(self) -> int:
        """Those that learn and those that only sample."""
        return self.gpus + self.sampling_gpus


class Memory(NamedTuple):
    """Bytes on the GPU that holds most.

    ``state``: weights, optimizer and gradients; ``working``: activations and logits of one
    micro-batch; ``weights``: the sampler's; ``cache``: keys and values of its rows in flight;
    ``beside``: the state on a sampler's GPU, if that learns as well. ``rows``: of a sampler,
    ``in_flight`` of which it runs side by side; 0 if none fits.
    """

    state: float
    working: float
    weights: float
    cache: float
    beside: float
    rows: int
    in_flight: int

    @property
    def learning(self) -> float:
        """The peak while it learns; the sampler's weights and cache are given back by then."""
        return self.state + self.working

    @property
    def sampling(self) -> float:
        """The peak while it samples, beside the learner's state."""
        return self.beside + self.weights + self.cache

    def fits(self, gpu: Gpu) -> bool:
        """Whether both peaks stay below what the GPU has room for."""
        return self.in_flight > 0 and self.learning <= usable(gpu)


def usable(gpu: Gpu) -> float:
    """The usable bytes of a GPU."""
    return gpu.memory_bytes * USABLE_SHARE


def state_bytes(recipe: Recipe, model: Architecture, *, parts: int) -> float:
    """The learner's state on one of ``parts`` GPUs that share it; adapters are not counted."""
    if recipe.model.lora_rank is not None:
        return FROZEN_BYTES * model.parameters / parts
    reference = REFERENCE_BYTES if recipe.loss.kl != "none" else 0
    return (TRAINED_BYTES + reference) * model.parameters / parts


def working_bytes(recipe: Recipe, model: Architecture) -> float:
    """Activations and logits of a micro-batch of whole rows, at the cap.

    A layer keeps, in bfloat16 and a token, ``4 h + 2 (H + K) d + 3 f`` values: both norms' inputs
    and outputs, queries, keys, values, the attention's output, and gate, up and their product
    (attention is fused, no score is kept). With gradient checkpointing one layer does, and of the
    others the input.
    """
    cap = recipe.sampling.cap_tokens
    rows = max(1, recipe.learner.micro_batch_tokens // cap)
    width = model.experts_active * model.expert_intermediate or model.intermediate
    layer = 4 * model.hidden + 2 * (model.heads + model.kv_heads) * model.head_dim + 3 * width
    kept = (
        model.layers * model.hidden + layer
        if recipe.model.gradient_checkpointing
        else model.layers * layer
    )
    return rows * (cap + PROMPT_TOKENS) * (2.0 * kept + LOGIT_BYTES * model.vocab)


def rows_that_fit(model: Architecture, gpu: Gpu, setup: Setup, *, state: float, tokens: int) -> int:
    """Rows of ``tokens`` tokens whose keys and values lie beside the weights; 0 if none."""
    room = min(usable(gpu) - state, gpu.memory_bytes * setup.sampler_share)
    left = room - model.parameters * WEIGHT_BYTES / setup.tensor_parallel
    return max(0, int(left / (model.cache_bytes * tokens / setup.tensor_parallel)))


def memory_of(
    recipe: Recipe, model: Architecture, gpu: Gpu, setup: Setup, *, mean_tokens: int
) -> Memory:
    """What learner and sampler hold; as many rows run side by side as fit at their mean length,
    if one fits at the cap."""
    sampling, parallel = recipe.sampling, setup.tensor_parallel
    state = state_bytes(recipe, model, parts=setup.gpus if setup.sharded else 1)
    beside = 0.0 if setup.sampling_gpus else state
    samplers, left_over = divmod(setup.sampling_gpus or setup.gpus, parallel)
    rollouts = sampling.prompts_per_step * sampling.samples_per_prompt
    rows = ceil(rollouts / max(1, samplers))
    at_cap, at_mean = (
        rows_that_fit(model, gpu, setup, state=beside, tokens=PROMPT_TOKENS + tokens)
        for tokens in (sampling.cap_tokens, mean_tokens)
    )
    in_flight = min(rows, at_mean, setup.rows or rows) if at_cap and not left_over else 0
    return Memory(
        state=state,
        working=working_bytes(recipe, model),
        weights=model.parameters * WEIGHT_BYTES / parallel,
        cache=in_flight * model.cache_bytes * (PROMPT_TOKENS + mean_tokens) / parallel,
        beside=beside,
        rows=rows,
        in_flight=in_flight,
    )
