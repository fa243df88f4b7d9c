"""Loading any Hugging Face causal language model from a folder, or the built-in lab's."""

from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tersely.core.errors import ConfigError

LAB = "lab"
# transformers has no common type that covers every tokenizer and model it can load.
Model = Any
Tokenizer = Any


class Policy(NamedTuple):
    """A model in training precision (fp32) on its device, with its tokenizer."""

    model: Model
    tokenizer: Tokenizer


def lab_folder() -> Path:
    """Where the shipped lab checkpoint lies."""
    return Path(str(resources.files("tersely") / "lab" / "checkpoint"))


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def folder_of(path: str) -> Path:
    """The model folder a recipe means.

    Raises:
        ConfigError: it is not an ordinary Hugging Face model folder.
    """
    folder = lab_folder() if path == LAB else Path(path)
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"model.path = {path!r} is no Hugging Face model folder (no config.json); "
            "give a folder written by save_pretrained, or 'lab'"
        )
    if not list(folder.glob("*.safetensors")) and not list(folder.glob("pytorch_model*.bin")):
        raise ConfigError(f"model.path = {path!r} holds no weights; expected *.safetensors")
    return folder


def load_policy(path: str) -> Policy:
    """Loads model and tokenizer.

    Raises:
        ConfigError: the folder is no causal language model, or its tokenizer cannot chat or stop.
    """
    folder = folder_of(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.path = {path!r} cannot be loaded: {reason}") from error
    if not tokenizer.chat_template:
        raise ConfigError(
            f"the tokenizer of model.path = {path!r} has no chat template; save one with it "
            "(tokenizer.chat_template = ...) or use the model's instruct version"
        )
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"the tokenizer of model.path = {path!r} has no eos_token; set one")
    return Policy(model.to(device()), tokenizer)
