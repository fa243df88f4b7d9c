"""Where models lie, found without loading any: the shipped lab model and folders of weights.

What a folder holds instead of a model is said here, with how to make one of it.
"""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from tersely.core.errors import ConfigError, shortened
from tersely.core.parsing import parse_json

LAB = "lab"
# The models of the lab, by name: where each lies in the package's ``lab`` folder.
LABS = {
    LAB: "v2/reasoner",
    "lab-v1": "checkpoint",
    "lab-v2": "v2/reasoner",
    "lab-v2-supervised": "v2/supervised",
}
# What older folders call "lab", by the digest of the model that it was then.
_LAB_THEN = {"844e55fa29e574ac": "lab-v1"}
CONFIG_FILE, GENERATION_FILE = "config.json", "generation_config.json"
_ADAPTER_FILE = "adapter_config.json"
# What from_pretrained looks for, in its order; of an index, the files that it names.
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_LARGE_FILES = b"version https://git-lfs"
_POINTER = "a pointer of git-lfs and not the file (git lfs pull brings it)"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_GIVE = f"give the folder that holds {CONFIG_FILE} and the weights"
_FOLDERS_DEEP = ("*", "*/*")


def lab_folder(name: str = LAB) -> Path:
    """Where a shipped model of the lab lies."""
    return Path(str(resources.files("tersely") / "lab")) / LABS[name]


def place_of(path: str) -> Path:
    """Where the model that a recipe names should lie, whether or not it does."""
    return lab_folder(path) if path in LABS else Path(path)


def lab_then(path: str, model_digest: str) -> str:
    """Today's name of the model that a folder of this digest calls ``path``."""
    then = _LAB_THEN.get(model_digest, path) if path == LAB else path
    return path if place_of(then) == place_of(path) else then


def folder_of(path: str) -> Path:
    """The model folder a recipe means.

    Raises:
        ConfigError: it is not an ordinary Hugging Face model folder, or lacks files that it names.
    """
    if not path:
        raise ConfigError(f"model.path = '' names no folder; {_GIVE}, or 'lab'")
    folder = place_of(path)
    fault = _fault_of(folder) if folder.is_dir() else _say_no_folder(path, folder)
    if fault is not None:
        raise ConfigError(f"model.path = {path!r} {fault}")
    return folder


def say_absent(path: str) -> str | None:
    """What a run lacks that is not here yet: its model's folder, or the weights in it."""
    folder = place_of(path)
    if not folder.exists():
        return f"model.path = {path!r} {_say_no_folder(path, folder)}"
    if (folder / CONFIG_FILE).is_file() and len(list(folder.iterdir())) == 1:
        return f"model.path = {path!r} {_say_no_weights(folder, ())}"
    return None


def _say_no_folder(path: str, folder: Path) -> str:
    if folder.exists():
        fix = f"convert it: {_CONVERT}" if folder.suffix == ".gguf" else _GIVE
        return f"is a file and no model folder; {fix}"
    name = path if _HUB_NAME.fullmatch(path) and not folder.parent.is_dir() else "OWNER/NAME"
    here = f"models/{folder.name}" if name == path else path
    return (
        f"is no folder, and nothing is loaded from a hub; fetch it (hf download {name} --local-dir "
        f"{here}) and give the folder that holds {CONFIG_FILE} and the weights, or one of the "
        f"lab's: {', '.join(LABS)}"
    )


_CONVERT = (
    "AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=NAME).save_pretrained(NEW) of "
    "transformers, and the same with AutoTokenizer"
)


def _fault_of(folder: Path) -> str | None:
    """What is wrong with a folder, and what to do; None if it may be a model's."""
    files = {file.name for file in folder.iterdir() if file.is_file()}
    weights = [name for name in (*_WHOLE, *_INDICES) if name in files]
    quantised = sorted(name for name in files if name.endswith(".gguf"))
    if _ADAPTER_FILE in files:
        return _say_adapter(folder, beside=bool(weights))
    if quantised and not weights:
        return f"holds {quantised[0]} and no other weights; convert it: {_CONVERT}"
    if CONFIG_FILE not in files:
        return _say_no_config(folder, files)
    return (
        _fault_of_config(folder / CONFIG_FILE)
        or (_say_no_weights(folder, files) if not weights else None)
        or _fault_of_index(folder, files)
    )


def _say_adapter(folder: Path, *, beside: bool) -> str:
    if beside:
        return (
            f"holds an adapter ({_ADAPTER_FILE}) beside whole weights; move the adapter's files "
            "into a folder of their own, or merge them into the weights"
        )
    content = read_object(folder / _ADAPTER_FILE)
    base = None if isinstance(content, str) else content.get("base_model_name_or_path")
    return (
        f"holds only an adapter ({_ADAPTER_FILE}) for {shortened(base) if base else 'a model'}, "
        "not the model; merge the two with peft: AutoPeftModelForCausalLM.from_pretrained(FOLDER)"
        ".merge_and_unload().save_pretrained(NEW), save the tokenizer there, and give that folder"
    )


def _say_no_config(folder: Path, files: Iterable[str]) -> str:
    inside = sorted(
        file.parent
        for depth in _FOLDERS_DEEP
        for file in folder.glob(f"{depth}/{CONFIG_FILE}")
        if not file.parent.name.endswith(".tmp")
    )
    if inside:
        return f"has no {CONFIG_FILE}, and {inside[-1]} has one; give that folder"
    state = "no Hugging Face model folder" if any(files) else "a folder without files"
    return (
        f"is {state} (no {CONFIG_FILE}); give a folder written by save_pretrained or fetched with "
        "hf download, or 'lab'"
    )


def _say_no_weights(folder: Path, files: Iterable[str]) -> str:
    others = sorted(
        name
        for name in files
        if Path(name).suffix in (".safetensors", ".bin", ".pt", ".pth", ".h5", ".onnx", ".msgpack")
    )
    if not others:
        return (
            f"holds no weights; expected {_WHOLE[0]}, or shards and {_INDICES[0]}: fetch them, or "
            "save the model anew with save_pretrained"
        )
    return (
        f"holds {others[0]}, but neither {' nor '.join((*_WHOLE, _INDICES[0]))}; a single file of "
        "weights must have such a name and shards need their index: fetch what is missing, or "
        "save the model anew with save_pretrained"
    )


def _fault_of_config(file: Path) -> str | None:
    content = read_object(file)
    fix = f"restore the {file.name} that the weights were saved with"
    if isinstance(content, str):
        return f"cannot be loaded: {file.name} {content}; {fix}"
    kind = content.get("model_type")
    if not isinstance(kind, str) or not kind:
        said = "no model_type" if kind is None else f"the model_type {shortened(repr(kind))}"
        return f"cannot be loaded: {file.name} has {said}, where a name like 'qwen3' stands; {fix}"
    return None


def _fault_of_index(folder: Path, files: Iterable[str]) -> str | None:
    """Where the weights are shards: what is wrong with their index, or which of them is missing."""
    name = next((name for name in (*_WHOLE, *_INDICES) if name in files), None)
    if name not in _INDICES:
        return None
    content = read_object(folder / name)
    fix = "fetch it again, or save the model anew"
    if isinstance(content, str):
        return f"cannot be loaded: {name} {content}; {fix}"
    shards = content.get("weight_map")
    if not isinstance(shards, dict) or not shards:
        return f"cannot be loaded: {name} has no weight_map that says which shard holds what; {fix}"
    missing = sorted({str(shard) for shard in shards.values()} - set(files))
    if missing:
        others = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        return f"lacks {missing[0]}{others}, which {name} names; {fix}"
    return None


def read_object(file: Path) -> Mapping[str, Any] | str:
    """A JSON file's object; else what is wrong with it, in words that follow its name."""
    content = file.read_bytes()
    if content.startswith(_LARGE_FILES):
        return f"is {_POINTER}"
    try:
        value = parse_json(content)
    except ValueError as error:
        return f"is no JSON ({shortened(error)})" if content.strip() else "is empty"
    if not isinstance(value, dict):
        return f"holds {shortened(value)!r} where an object stands"
    return value


def check_generation(folder: Path, *, path: str) -> None:
    """Refuses a ``generation_config.json`` that cannot be read: transformers passes over it, and
    stop tokens would be lost.

    Raises:
        ConfigError: it is there and is no object.
    """
    file = folder / GENERATION_FILE
    if not file.exists():
        return
    content = read_object(file) if file.is_file() else "is no file"
    if isinstance(content, str):
        raise ConfigError(
            f"model.path = {path!r} cannot be loaded: {GENERATION_FILE} {content}; restore it, or "
            "delete it if the tokenizer's eos_token is the model's only stop token"
        )


def weights_file(folder: Path) -> str:
    """The file that a model's weights are loaded from, or their index."""
    return next((name for name in (*_WHOLE, *_INDICES) if (folder / name).is_file()), _WHOLE[0])


def check_weights(folder: Path, *, path: str, quantised: bool) -> None:
    """Reads the headers of all safetensors files that a folder's model is loaded from.

    Args:
        quantised: the configuration says how weights that are whole numbers are to be read.
    Raises:
        ConfigError: one is cut short or is something else, or holds whole numbers as weights.
    """
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np") as content:
                names = sorted(content.keys(), reverse=True)
                types = {
                    content.get_slice(name).get_dtype(): name
                    for name in names
                    if name.endswith((".weight", ".bias"))
                }
        except (SafetensorError, OSError, ValueError) as error:
            raise ConfigError(
                f"model.path = {path!r} cannot be loaded: {file.name} of "
                f"{file.stat().st_size:,} bytes is {_say_damaged(file, error)}; fetch it again, or "
                "save the model anew"
            ) from error
        whole = sorted(
            kind for kind in types if kind.startswith(("I", "U", "B")) and kind != "BF16"
        )
        if whole and not quantised:
            raise ConfigError(
                f"model.path = {path!r} cannot be loaded: {file.name} holds {types[whole[0]]} as "
                f"{whole[0]}, and {CONFIG_FILE} has no quantization_config that says how to read "
                "it; give the model's version in float32 or bfloat16"
            )


def _say_damaged(file: Path, error: Exception) -> str:
    with file.open("rb") as content:
        pointer = content.read(len(_LARGE_FILES)) == _LARGE_FILES
    return _POINTER if pointer else f"damaged: {shortened(error)}"
