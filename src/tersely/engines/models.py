"""Loading any Hugging Face causal language model from a folder, or the built-in lab's."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tersely.core.digests import check_digests
from tersely.core.errors import ConfigError, TerselyError, TerselyWarning, shortened
from tersely.engines.folders import (
    CONFIG_FILE,
    check_generation,
    check_weights,
    read_object,
    weights_file,
)
from tersely.engines.folders import LAB as LAB
from tersely.engines.folders import folder_of as folder_of
from tersely.engines.folders import lab_folder as lab_folder
from tersely.engines.learning.lora import merged_weights, plain_twin
from tersely.engines.learning.memory import is_out_of_memory, memory_errors
from tersely.tasks.grading.answer import END_THINK

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
# Of other kinds of tokenizer, which transformers turns into one of its own.
_VOCABULARIES = ("tekken.json", "*.model", "*.tiktoken", "*.py")
_REASON_CHARS = 240
_WEIGHTS_FIX = "fetch it again, or save the model anew, which makes model.safetensors"
_CONFIG_FIX = f"restore the {CONFIG_FILE} that the weights were saved with"
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
    folder = folder_of(path)
    check_digests(folder, but=("optimizer.pt", "state.json"))
    tokenizer = load_tokenizer(path)
    settings = load_settings(path)
    fix = "use a smaller model, or free memory that other processes hold"
    with memory_errors(f"loading model.path = {path!r}", fix=fix):
        model, found = _load_weights(folder, settings.config, dtype=dtype, path=path)
        _refuse_random(found, path=path)
        _refuse_left_over(found["unexpected_keys"], model.state_dict(), path=path)
        _refuse_non_finite(model, path=path)
        return Policy(model.to(device()), tokenizer)


def _load_weights(folder: Path, config: Any, *, dtype: torch.dtype, path: str) -> tuple[Model, Any]:
    """The model, and what transformers says of loading it."""
    kind = str(config.model_type)
    if type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ConfigError(
            f"model.path = {path!r} cannot be loaded: {CONFIG_FILE}: model_type {kind!r} is no "
            "causal language model of transformers; give one that continues text, or evaluate it "
            "through a server (--endpoint)"
        )
    quantised = getattr(config, "quantization_config", None) is not None
    fix = "give the model's version without quantization" if quantised else _WEIGHTS_FIX
    with _reading(path, weights_file(folder), fix=fix):
        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        except Exception:
            # Where no model can be made without weights either, they are not what is wrong.
            with _reading(path, CONFIG_FILE, fix=_CONFIG_FIX), torch.device("meta"):
                AutoModelForCausalLM.from_config(config)
            raise
    return model, found


@contextmanager
def _reading(path: str, what: str, *, fix: str) -> Iterator[None]:
    """Whatever a library raises over a file that is not as it expects becomes a ConfigError."""
    try:
        yield
    except TerselyError:
        raise
    except Exception as error:  # of any kind: TypeError, KeyError, AssertionError, ImportError ...
        if is_out_of_memory(error):
            raise
        raise ConfigError(
            f"model.path = {path!r} cannot be loaded: {what}: {_reason(error)}; {fix}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{shortened(error)} is missing or not known"
    said = " ".join(str(error).split()) or type(error).__name__
    if len(said) > _REASON_CHARS:
        cut = said[:_REASON_CHARS]
        return f"{cut.rpartition(' ')[0] or cut} ..."
    return said.rstrip(".")


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
        ConfigError: it is not an ordinary Hugging Face model folder of a causal language model
            that transformers knows, or a file of weights is damaged.
    """
    folder = folder_of(path)
    config = _read_config(folder, path=path)
    check_generation(folder, path=path)
    quantised = getattr(config, "quantization_config", None) is not None
    check_weights(folder, path=path, quantised=quantised)
    with _reading(path, "generation_config.json", fix="restore it"):
        generation = (
            GenerationConfig.from_pretrained(folder)
            if (folder / "generation_config.json").is_file()
            else GenerationConfig.from_model_config(config)
        )
    return Settings(config, generation)


def _read_config(folder: Path, *, path: str) -> Any:
    _check_kind(read_object(folder / CONFIG_FILE), path=path)
    with _reading(path, CONFIG_FILE, fix=_CONFIG_FIX):
        return AutoConfig.from_pretrained(folder)


def _check_kind(config: Mapping[str, Any] | str, *, path: str) -> None:
    """Refuses what transformers has no class for, and types of numbers that torch has not."""
    assert not isinstance(config, str)  # read before
    said = f"model.path = {path!r} cannot be loaded: {CONFIG_FILE}:"
    kind = config["model_type"]
    if kind not in transformers.CONFIG_MAPPING:
        why = (
            "its model brings code of its own (auto_map), which is not run"
            if config.get("auto_map")
            else f"transformers {transformers.__version__} does not know its model_type"
        )
        raise ConfigError(
            f"{said} model_type {shortened(kind)!r}: {why}; evaluate it through a server "
            "(--endpoint), or install a transformers that knows it"
        )
    pad, vocabulary = config.get("pad_token_id"), config.get("vocab_size")
    if isinstance(pad, int) and isinstance(vocabulary, int) and not -vocabulary <= pad < vocabulary:
        raise ConfigError(
            f"{said} pad_token_id {pad} is outside its vocab_size {vocabulary}; set a token that "
            "the model has, or null"
        )
    for key in ("dtype", "torch_dtype"):
        name = config.get(key)
        if isinstance(name, str) and not isinstance(
            getattr(torch, name.removeprefix("torch."), None), torch.dtype
        ):
            raise ConfigError(
                f"{said} {key} {shortened(name)!r} is no type of torch's; write float32, bfloat16 "
                "or float16"
            )


def load_tokenizer(path: str) -> Tokenizer:
    """Loads the tokenizer of a model folder.

    Raises:
        ConfigError: it cannot be loaded, cannot chat or stop, or marks thinking with other tags
            than graders know.
    """
    folder = folder_of(path)
    # transformers reads it for the tokenizer as well.
    _read_config(folder, path=path)
    fix = "restore the tokenizer's files that the model came with"
    for name in _TOKENIZER_FILES:
        content = read_object(folder / name) if (folder / name).is_file() else {}
        if isinstance(content, str):
            raise ConfigError(f"model.path = {path!r} cannot be loaded: {name} {content}; {fix}")
    with _reading(path, "its tokenizer", fix=fix):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    _refuse_no_vocabulary(tokenizer, folder, path=path)
    _check_template(tokenizer.chat_template, path=path)
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"the tokenizer of model.path = {path!r} has no eos_token; set one in "
            "tokenizer_config.json"
        )
    check_thinking_tags(str(tokenizer.chat_template), path=path)
    return tokenizer


def _refuse_no_vocabulary(tokenizer: Tokenizer, folder: Path, *, path: str) -> None:
    """Refuses a folder without a tokenizer, of which transformers makes one that knows no word."""
    names = {*getattr(tokenizer, "vocab_files_names", {}).values()}
    if names and not any(any(folder.glob(name)) for name in (*names, *_VOCABULARIES)):
        raise ConfigError(
            f"model.path = {path!r} holds no tokenizer (none of {', '.join(sorted(names))}); copy "
            "the tokenizer's files of the model it was made from into it"
        )


def _check_template(template: object, *, path: str) -> None:
    """Refuses a tokenizer that has no chat template, or several of which none is the default."""
    if isinstance(template, dict) and "default" not in template:
        said = f"has only chat templates named {', '.join(map(str, template))}, and no default"
    elif not template:
        said = "has no chat template"
    elif not isinstance(template, str | dict):
        said = f"has the chat template {shortened(template)!r}, which is no text"
    else:
        return
    raise ConfigError(
        f"the tokenizer of model.path = {path!r} {said}; save one with it (a file "
        "chat_template.jinja in that folder, or tokenizer.chat_template = ... and "
        "save_pretrained) or use the model's instruct version"
    )
