"""Low-rank adapters on a model's linear layers, through peft.

The base weights stay frozen and are never written: samplers that copy weights read
``base + delta`` one matrix at a time, so no rounding builds up over a run.
"""

import copy
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from tersely.core.errors import ConfigError

ALL_LINEAR = "all-linear"
_NAME = "default"
_WEIGHTS = "adapter_model.safetensors"


def add_lora(
    model: Any, *, rank: int, seed: int, alpha: float | None = None, targets: tuple[str, ...] = ()
) -> None:
    """Freezes ``model`` and adds ``W + alpha / rank * B A`` to its linear layers, in place.

    B starts at zero, so the policy is at first the base's. Source: arXiv:2106.09685, section 4.1.

    Args:
        seed: of A's start.
        alpha: of the scale alpha / rank; None is 2 * rank.
        targets: names that layers end in, such as ``q_proj``; none are all linear layers but the
            output matrix, experts and their router included.

    Raises:
        ConfigError: the rank is below 1, no layer has such a name, or one has whose matrix the
            model uses in another place too.
    """
    from peft import LoraConfig

    if rank < 1:
        raise ConfigError(f"lora rank {rank} is below 1; 8 to 64 are usual")
    config = LoraConfig(
        r=rank,
        # peft says int and divides by the rank: any number will do.
        lora_alpha=cast(int, 2 * rank if alpha is None else alpha),
        target_modules=list(targets) or ALL_LINEAR,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            torch.manual_seed(seed)
            # What peft prepares for fused experts matches nothing where they stay as they are.
            warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys did not")
            # Refused below, or as wanted: GPT-2's transposed matrices are told apart by peft.
            warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to (True|False)")
            model.add_adapter(config, adapter_name=_NAME)
    except ValueError as error:
        raise _nameless(model, targets) from error
    named = [name for name, part in model.named_modules() if _adapted(part)]
    lost = [t for t in targets if not any(f".{name}".endswith(f".{t}") for name in named)]
    if lost:
        raise _nameless(model, lost)
    _refuse_shared(model)
    _refuse_positions(model)
    model.eval()


def _nameless(model: Any, targets: Sequence[str]) -> ConfigError:
    known = {name.rpartition(".")[2] for name, part in model.named_modules() if _linear(part)}
    return ConfigError(
        f"lora targets {', '.join(targets)} name no linear layer of this model; "
        f"it has {', '.join(sorted(known - {'base_layer', _NAME}))}"
    )


def _refuse_positions(model: Any) -> None:
    """Refuses an adapter on an embedding that is not the tokens': peft calls it as if it was."""
    for name, part in model.named_modules():
        base = part.get_base_layer() if _adapted(part) else None
        if isinstance(base, torch.nn.Embedding) and part is not model.get_input_embeddings():
            layer = name.rpartition(".")[2]
            raise ConfigError(
                f"lora target {layer} embeds something other than tokens, which adapters cannot "
                f"follow; leave {layer} out of model.lora_targets"
            )


def _refuse_shared(model: Any) -> None:
    """Refuses an adapter on a matrix that is used twice: peft adds its delta at one of the two
    places, and no single matrix computes that."""
    users: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        users.setdefault(id(weight), []).append(_plain_name(name))
    for name, part in model.named_modules():
        base = part.get_base_layer() if _adapted(part) else torch.nn.Identity()
        own = f"{_plain_name(f'{name}.')}"
        for weight in base.parameters():
            mine, *others = sorted(users[id(weight)], key=lambda user: not user.startswith(own))
            if others:
                layer = name.rpartition(".")[2]
                raise ConfigError(
                    f"lora target {layer}: {others[0]} is the same matrix as {mine} (tied), so no "
                    f"merged model equals base and adapter; leave {layer} out of model.lora_targets"
                )


def has_lora(model: Any) -> bool:
    """Whether :func:`add_lora` was called on it."""
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def merged_weight(layer: Any) -> Tensor:
    """A linear layer's or an embedding's matrix, its adapter's delta added where it has one."""
    if not _adapted(layer):
        return layer.weight
    return layer.get_base_layer().weight + layer.get_delta_weight(_NAME)


def merged_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The state of the same model without adapters, merged, one tensor at a time."""
    # An adapter of a fused tensor says which; all others are of their layer's weight.
    adapters = {
        _plain_name(f"{name}.{getattr(part, 'parameter_name', 'weight')}"): part
        for name, part in model.named_modules()
        if _adapted(part)
    }
    for name, tensor in base_weights(model):
        adapter = adapters.get(name)
        yield name, tensor if adapter is None else tensor + adapter.get_delta_weight(_NAME).detach()


def base_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The state of the same model without adapters, as it was before them."""
    for name, tensor in model.state_dict().items():
        if ".lora_" not in name:
            yield _plain_name(name), tensor


def plain_twin(model: Any, state: Mapping[str, Tensor]) -> Any:
    """A frozen model of the same class, without adapters, on these tensors themselves."""
    with torch.device("meta"):
        twin = type(model)(copy.deepcopy(model.config))
    twin.load_state_dict(state, assign=True)
    # Rotary frequencies and their like are not in the state, and were made without memory.
    for name, buffer in model.named_buffers(remove_duplicate=False):
        owner, _, last = name.rpartition(".")
        setattr(twin.get_submodule(_plain_name(f"{owner}.")[:-1]), last, buffer)
    # Not where the config says so and the weights on disk differ: loading leaves those apart.
    if len(list(model.parameters())) < len(list(model.named_parameters(remove_duplicate=False))):
        twin.tie_weights()
    twin.generation_config = model.generation_config
    return twin.requires_grad_(False).eval()


def base_twin(model: Any) -> Any:
    """The model before its adapters, on the same memory: a reference that costs no second copy."""
    return plain_twin(model, dict(base_weights(model)))


def save_merged(model: Any, folder: Path) -> None:
    """Writes the merged model as an ordinary Hugging Face folder."""
    plain_twin(model, dict(merged_weights(model))).save_pretrained(folder)


def save_adapter(model: Any, folder: Path) -> None:
    """Writes the adapter in peft's format, which has an adapted embedding's base beside it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting `save_embedding_layers` to `True`")
        model.save_pretrained(folder)


def load_adapter(model: Any, folder: Path) -> None:
    """Puts a saved adapter's weights into the one that ``model`` has.

    Raises:
        ValueError: it is of another shape or other layers.
    """
    from peft import set_peft_model_state_dict

    saved = load_file(folder / _WEIGHTS)
    adapter = {name: weight for name, weight in saved.items() if ".lora_" in name}
    found: Any = set_peft_model_state_dict(model, adapter, adapter_name=_NAME)
    missing = [key for key in found.missing_keys if ".lora_" in key]
    if missing or found.unexpected_keys:
        raise ValueError(f"adapter and model differ in {[*missing, *found.unexpected_keys][0]}")


def _plain_name(name: str) -> str:
    return re.sub(r"\.base_layer(?=\.)", "", name)


def _adapted(part: Any) -> bool:
    return hasattr(part, "get_delta_weight")


def _linear(part: Any) -> bool:
    return isinstance(part, torch.nn.Linear | Conv1D)
