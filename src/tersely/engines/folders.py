"""Where models lie, found without loading any: the shipped lab model and folders of weights."""

from importlib import resources
from pathlib import Path

from tersely.core.errors import ConfigError

LAB = "lab"


def lab_folder() -> Path:
    """Where the shipped lab checkpoint lies."""
    return Path(str(resources.files("tersely") / "lab" / "checkpoint"))


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
