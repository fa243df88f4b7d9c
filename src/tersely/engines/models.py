"""Loading any Hugging Face causal language model from a folder, or the built-in lab's."""

import re
import warnings
from collections.abc import Iterable, Mapping
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tersely.core.digests import check_digests
from tersely.core.errors import ConfigError, TerselyWarning
from tersely.engines.folders import LAB as LAB
from tersely.engines.folders import folder_of as folder_of
from tersely.engines.folders import lab_folder as lab_folder
from tersely.engines.learning.lora import merged_weights, plain_twin
from tersely.engines.learning.memory import memory_errors
from tersely.tasks.grading.answer import END_THINK

# What reading a damaged or foreign file raises.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError)
# Buffers that older versions saved and newer ones compute.
_COMPUTED = ("rotary_emb.inv_freq", ".attn.bias", ".masked_bias", ".position_ids")
_LAYER = re.compile(r".*?\.\d+\.")
# transformers has no common type that covers every tokenizer and model it can load.
Model = Any
Tokenizer = Any


# What other reasoners write where most write </think>: end of thought, by its beginning.
_FOREIGN_TAGS = {
    "[THINK]": "[/THINK]",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "<thought>": "</thought>",
    "<|channel|>analysis": "<|channel|>final",
    "<|START_THINKING|>": "<|END_THINKING|>",
}


class Settings(NamedTuple):
    """A model's settings without its weights."""

    config: Any
    generation_config: Any


class Policy(NamedTuple):
    """A model on its device, with its tokenizer."""

    model: Model
    tokenizer: Tokenizer


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def sampling_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU; float32 on a CPU, where most have no fast bfloat16."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def sampling_copy(model: Model, *, dtype: torch.dtype) -> Model:
    """The model to sample from: itself where it has that dtype already, else a copy of its
    weights, adapters merged, of 2 bytes a weight in bfloat16."""
    if model.dtype == dtype:
        return model
    rounded = {name: weight.to(dtype) for name, weight in merged_weights(model)}
    return plain_twin(model, rounded)


def copy_weights(source: Model, target: Model) -> None:
    """Rounds the weights of ``source``, adapters merged, into a ``sampling_copy`` of it."""
    state = target.state_dict()
    with torch.no_grad():
        for name, weight in merged_weights(source):
            state[name].copy_(weight)


def check_thinking_tags(chat_template: str, *, path: str) -> None:
    """Refuses a chat template whose thinking graders would take for the answer.

    Only what the template itself names counts: a vocabulary may hold tags that are never used.

    Raises:
        ConfigError: it names other tags, and not ``</think>``.
    """
    if END_THINK in chat_template:
        return
    for begin, end in _FOREIGN_TAGS.items():
        if begin in chat_template:
            raise ConfigError(
                f"model.path = {path!r} thinks between {begin} and {end}, and answers are read "
                f"after {END_THINK}: its thinking would be graded. Evaluate it through a server "
                "whose reasoning parser tells the two apart (--endpoint), or choose another model"
            )


def load_policy(path: str, *, dtype: torch.dtype = torch.float32) -> Policy:
    """Loads model and tokenizer onto the device.

    Args:
        dtype: float32 to train; ``sampling_dtype`` does to sample.

    Raises:
        ConfigError: as :func:`load_tokenizer`, or the folder is no causal language model, or
            weights are missing, of another shape, NaN or infinite.
        DataError: a file of a checkpoint of ours is not as it was written.
        EngineError: it does not fit into memory.
    """
    # Where a checkpoint of ours was damaged, that is said, and not what comes of it.
    check_digests(folder_of(path), but=("optimizer.pt", "state.json"))
    tokenizer = load_tokenizer(path)
    fix = "use a smaller model, or free memory that other processes hold"
    with memory_errors(f"loading model.path = {path!r}", fix=fix):
        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                folder_of(path), dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
            )
        except _UNREADABLE as error:
            raise _unloadable(path, error) from error
        _refuse_random(found, path=path)
        _refuse_left_over(found["unexpected_keys"], model.state_dict(), path=path)
        _refuse_non_finite(model, path=path)
        return Policy(model.to(device()), tokenizer)


def _refuse_random(found: Mapping[str, Any], *, path: str) -> None:
    """Refuses a model of which weights are missing or of another shape: loading makes them up."""
    misfits = [
        f"{name} of shape {list(there)} where config.json wants {list(here)}"
        for name, there, here in sorted(found["mismatched_keys"])
    ]
    lacks = [f"no {name}" for name in sorted(found["missing_keys"])]
    if wrong := misfits + lacks:
        others = f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        raise ConfigError(
            f"model.path = {path!r} has {wrong[0]}{others}; its weights and its config.json do not "
            "belong together: save the model anew, or restore the file that is missing"
        )


def _refuse_left_over(left: Iterable[str], kept: Iterable[str], *, path: str) -> None:
    """Refuses a file with more layers than config.json says, and warns of other weights left over.

    A layer that holds modules of a kind that no other layer has is an addition, as those that
    predict several tokens are.
    """
    names = sorted(name for name in left if not name.endswith(_COMPUTED))
    if not names:
        return
    kinds = {_LAYER.sub("#", name, count=1) for name in kept}
    by_layer: dict[str, set[str]] = {}
    for name in names:
        if found := _LAYER.match(name):
            by_layer.setdefault(found[0], set()).add(_LAYER.sub("#", name, count=1))
    layers = [layer for layer, parts in by_layer.items() if parts <= kinds]
    others = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    said = f"model.path = {path!r} holds {names[0]}{others}, for which config.json has no place"
    if layers:
        raise ConfigError(
            f"{said}: it says fewer layers than there are; restore the config.json that the "
            "weights were saved with"
        )
    warnings.warn(f"{said}; these weights are not used", TerselyWarning, stacklevel=3)


def _refuse_non_finite(model: Model, *, path: str) -> None:
    """Refuses weights that hold NaN or infinity, which no sample or loss would survive."""
    bad = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    if bad:
        others = f" and {len(bad) - 1:,} more" if len(bad) > 1 else ""
        raise ConfigError(
            f"model.path = {path!r} has weights that are not finite numbers: {bad[0]}{others}; "
            "the file is damaged or its training diverged: use another checkpoint"
        )


def load_settings(path: str) -> Settings:
    """A model's configuration, and how it generates, which the former tells where no file does.

    Raises:
        ConfigError: it is not an ordinary Hugging Face model folder.
    """
    folder = folder_of(path)
    config = AutoConfig.from_pretrained(folder)
    generation = (
        GenerationConfig.from_pretrained(folder)
        if (folder / "generation_config.json").is_file()
        else GenerationConfig.from_model_config(config)
    )
    return Settings(config, generation)


def load_tokenizer(path: str) -> Tokenizer:
    """Loads the tokenizer of a model folder.

    Raises:
        ConfigError: it cannot be loaded, cannot chat or stop, or marks thinking with other tags
            than graders know.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder_of(path))
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(path, error) from error
    if not tokenizer.chat_template:
        raise ConfigError(
            f"the tokenizer of model.path = {path!r} has no chat template; save one with it "
            "(tokenizer.chat_template = ...) or use the model's instruct version"
        )
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"the tokenizer of model.path = {path!r} has no eos_token; set one")
    check_thinking_tags(str(tokenizer.chat_template), path=path)
    return tokenizer


def _unloadable(path: str, error: Exception) -> ConfigError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ConfigError(f"model.path = {path!r} cannot be loaded: {reason}")
