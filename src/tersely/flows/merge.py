"""``tersely merge``: the linear mean of two checkpoints' weights, tensor by tensor.

``merged = A + weight * (B - A)``, in float32 (float64 where weights are), rounded once to the type
that A's have. Weight 0 gives A and weight 1 gives B, to the bit where B has A's types. At weight
0.5 it is the model merging of arXiv:2501.12599 (long to short), of which summaries were read and
not the paper.
"""

import json
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import torch
from jaxtyping import Shaped
from torch import Tensor

from tersely.core.digests import check_digests, digest_of, note_checkpoint
from tersely.core.errors import ConfigError
from tersely.core.storage import write_atomically, writing
from tersely.engines.folders import check_weights, folder_of, weights_file
from tersely.engines.models import load_settings, load_tokenizer

NOTE = "merged.json"
# What is computed at once, so that a large tensor takes no more room than a small one.
PIECE = 1 << 22
# Types as safetensors names them: those that have a mean, and those that must be alike.
_FLOATS = ("F64", "F32", "F16", "BF16")
_WHOLE = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")
_HEAD = "lm_head.weight"
# Both of A; a later transformers writes more of them, and trainers set the padding.
_FREE_KEYS = frozenset({
    "_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "pad_token_id",
    "bos_token_id",
})  # fmt: skip
_COMPANIONS = (
    "config.json", "generation_config.json", "tokenizer*", "chat_template*", "vocab*", "merges*",
    "*.model", "*.tiktoken", "special_tokens_map.json", "added_tokens.json", "*.index.json",
    "additional_chat_templates/*",
)  # fmt: skip


class TensorPlace(NamedTuple):
    """A tensor in a file of safetensors: its name and type there, its shape, and from which byte
    of the data it stands."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int


class Mergeable(NamedTuple):
    """A model folder whose weights can be merged: its tensors by name, file by file in the order in
    which they stand."""

    path: str
    folder: Path
    tensors: dict[str, TensorPlace]

    @property
    def files(self) -> list[Path]:
        """The files of weights."""
        return list(dict.fromkeys(place.file for place in self.tensors.values()))


def merge(first: str, second: str, weights: Sequence[float], out: Path) -> list[Path]:
    """Writes ``out/weight-W`` for each weight, a model folder each, and returns them.

    Everything but the weights is A's: files, types, configuration, tokenizer, template. Both models
    are read once and no more than a part of a tensor is held at a time.

    Args:
        first: A, a model folder or ``lab``.
        second: B, likewise; its tensors may lie in other files.
        weights: of B, each from 0 to 1.
    Raises:
        ConfigError: the two are no models of one architecture, a weight cannot be, a folder is
            there already, or a tensor holds NaN or an infinity; nothing is written.
        DataError: a file of a checkpoint of ours is not as it was written.
    """
    weights = [weight + 0.0 for weight in weights]  # -0 is 0
    folders = [out / f"weight-{name}" for name in _names(weights)]
    scratches = [folder.with_name(f"{folder.name}.tmp") for folder in folders]
    _check_weights(weights, folders, scratches)
    with _named("A", first):
        one = open_model(first)
    with _named("B", second):
        other = store_head(one, open_model(second))
    check_alike(one, other)
    with ExitStack() as leftovers:
        for scratch in scratches:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            leftovers.callback(shutil.rmtree, scratch, ignore_errors=True)
            _copy_companions(one.folder, scratch)
        for file in one.files:
            with writing(out):
                _merge_file(file, one, other, weights, scratches)
        digests = [digest_of(model.folder) for model in (one, other)]
        for weight, scratch, folder in zip(weights, scratches, folders, strict=True):
            note = {"first": first, "second": second, "weight": weight, "digests": digests}
            write_atomically(scratch / NOTE, json.dumps(note, indent=1) + "\n")
            note_checkpoint(scratch)
            scratch.replace(folder)
    return folders


def mix(
    first: Shaped[Tensor, " N"], second: Shaped[Tensor, " N"], weight: float
) -> Shaped[Tensor, " N"]:
    """``first + weight * (second - first)`` in the first's type, as ``merge`` computes it; numbers
    that are no floats are the same in both."""
    if weight == 0 or not first.is_floating_point():
        return first
    if weight == 1:
        return second.to(first.dtype)
    wide = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
    start = first.to(wide)
    return ((second.to(wide) - start) * weight + start).to(first.dtype)


def open_model(path: str) -> Mergeable:
    """Where a model's tensors stand.

    Raises:
        ConfigError: it is no model folder, holds only an adapter, or has no or damaged safetensors.
        DataError: a file of a checkpoint of ours is not as it was written.
    """
    folder = folder_of(path)
    check_digests(folder, but=("optimizer.pt", "state.json"))
    # Whatever a damaged header claims, this reads no more than there is.
    check_weights(folder, path=path, quantised=True)
    name = weights_file(folder)
    if ".safetensors" not in name:
        raise ConfigError(
            f"model.path = {path!r} has its weights in {name}, and safetensors are merged; save "
            "the model anew with save_pretrained"
        )
    files = [folder / name]
    if name.endswith(".index.json"):
        shards = json.loads((folder / name).read_text())["weight_map"].values()
        files = [folder / shard for shard in sorted(set(shards))]
    tensors = {each: place for file in files for each, place in read_places(file)}
    return Mergeable(path, folder, tensors)


def read_places(file: Path) -> Iterator[tuple[str, TensorPlace]]:
    """The tensors of a file of safetensors, in the order in which their bytes stand."""
    entries = json.loads(_read_header(file)[8:])
    entries.pop("__metadata__", None)
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        start = int(entry["data_offsets"][0])
        yield name, TensorPlace(name, file, entry["dtype"], tuple(entry["shape"]), start)


def _read_header(file: Path) -> bytes:
    """The first part of a file: a length of 8 bytes and a JSON object of that length."""
    with file.open("rb") as content:
        size = content.read(8)
        return size + content.read(struct.unpack("<Q", size)[0])


def store_head(one: Mergeable, other: Mergeable) -> Mergeable:
    """B with the tied ``lm_head.weight`` that A stores, or without the one that A does not store.

    It repeats the embeddings, and some trainers save it and others do not. One that does not repeat
    them to the bit stays a difference of the two.
    """
    with_head = one if _HEAD in one.tensors else other
    tied = _repeated(with_head) if (_HEAD in one.tensors) != (_HEAD in other.tensors) else None
    if tied not in other.tensors:
        return other
    tensors = {name: place for name, place in other.tensors.items() if name != _HEAD}
    if with_head is one:
        tensors[_HEAD] = tensors[tied]
    return other._replace(tensors=tensors)


def _repeated(model: Mergeable) -> str | None:
    """The tensor that a model's ``lm_head.weight`` is tied to, if it repeats it."""
    if not getattr(load_settings(model.path).config, "tie_word_embeddings", False):
        return None
    head = model.tensors[_HEAD]
    for name, place in model.tensors.items():
        alike = (place.dtype, place.shape) == (head.dtype, head.shape)
        if name != _HEAD and alike and torch.equal(_bits(place), _bits(head)):
            return name
    return None


def _bits(place: TensorPlace) -> Tensor:
    from safetensors import safe_open

    with safe_open(place.file, "pt") as content:
        return cast("Tensor", content.get_tensor(place.name).view(torch.uint8))


def check_alike(one: Mergeable, other: Mergeable) -> None:
    """Refuses two models of which no weighted mean is a model.

    Raises:
        ConfigError: naming the first difference.
    """
    said = f"{one.path} and {other.path} cannot be merged:"
    with _named("A", one.path):
        first, ours = _config(one), load_tokenizer(one.path)
    with _named("B", other.path):
        second, others = _config(other), load_tokenizer(other.path)
    for key in sorted(first.keys() | second.keys()):
        if first.get(key) != second.get(key):
            raise ConfigError(
                f"{said} {key} is {first.get(key)!r} in the first's config.json and "
                f"{second.get(key)!r} in the second's; merge checkpoints of one model"
            )
    for name in sorted(one.tensors.keys() | other.tensors.keys()):
        mine, theirs = one.tensors.get(name), other.tensors.get(name)
        if mine is None or theirs is None:
            there = one.path if theirs is None else other.path
            raise ConfigError(f"{said} {name} is in {there} only; merge checkpoints of one model")
        _check_places(mine, theirs, one, other)
    if ours.get_vocab() != others.get_vocab() or ours.eos_token_id != others.eos_token_id:
        raise ConfigError(
            f"{said} their tokenizers number tokens differently; merge checkpoints of one model"
        )
    if ours.chat_template != others.chat_template:
        raise ConfigError(
            f"{said} their chat templates differ, so that they were asked in different ways; copy "
            "the template of one into the other's folder if that is meant"
        )


def _check_places(mine: TensorPlace, theirs: TensorPlace, one: Mergeable, other: Mergeable) -> None:
    """Refuses two tensors that have no mean, or one of which the other's type cannot be made."""
    said = f"{one.path} and {other.path} cannot be merged:"
    for place, path in ((mine, one.path), (theirs, other.path)):
        if place.dtype not in (*_FLOATS, *_WHOLE):
            raise ConfigError(
                f"{said} {mine.name} of {path} is {place.dtype}, which is quantized, and numbers "
                "of a grid have no mean on it; merge the models without quantization"
            )
    floats = mine.dtype in _FLOATS and theirs.dtype in _FLOATS
    if mine.shape != theirs.shape or (mine.dtype != theirs.dtype and not floats):
        raise ConfigError(
            f"{said} {mine.name} is {mine.dtype} {list(mine.shape)} in the first and "
            f"{theirs.dtype} {list(theirs.shape)} in the second; merge checkpoints of one model"
        )


def _config(model: Mergeable) -> dict[str, Any]:
    config: Mapping[str, Any] = load_settings(model.path).config.to_dict()
    if config.get("quantization_config") is not None:
        raise ConfigError(
            f"model.path = {model.path!r} is quantized, and numbers of a grid have no mean on it; "
            "merge the models without quantization"
        )
    return {key: value for key, value in config.items() if key not in _FREE_KEYS}


@contextmanager
def _named(argument: str, path: str) -> Iterator[None]:
    """Refusals of a model name the argument, where a recipe's say model.path."""
    try:
        yield
    except ConfigError as error:
        said = str(error).replace(f"model.path = {path!r}", f"{argument} {path!r}")
        raise ConfigError(said) from error


def _names(weights: Sequence[float]) -> list[str]:
    """Each weight in six digits, or all in full where two would have one name."""
    short = [f"{weight:g}" for weight in weights]
    return short if len(set(short)) == len(set(weights)) else [repr(weight) for weight in weights]


def _check_weights(
    weights: Sequence[float], folders: Sequence[Path], scratches: Sequence[Path]
) -> None:
    for weight in weights:
        if not 0 <= weight <= 1:
            raise ConfigError(f"--weight {weight:g} is outside 0 (A) to 1 (B); give 0.5")
    if len(set(folders)) < len(folders):
        raise ConfigError("--weight names one weight twice; give each once")
    for folder in folders:
        if folder.exists():
            raise ConfigError(f"{folder} exists; give another --out, or remove it")
    for scratch in scratches:
        if scratch.is_file():
            raise ConfigError(f"{scratch} is a file, and a folder is written there; remove it")


def _copy_companions(source: Path, target: Path) -> None:
    for pattern in _COMPANIONS:
        for file in source.glob(pattern):
            if file.is_file():
                copy = target / file.relative_to(source)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, copy)


def _merge_file(
    file: Path,
    one: Mergeable,
    other: Mergeable,
    weights: Sequence[float],
    folders: Sequence[Path],
) -> None:
    """Same names and shapes: the header is A's, and each tensor stands where A's does."""
    with ExitStack() as stack:
        targets = [stack.enter_context((folder / file.name).open("wb")) for folder in folders]
        for target in targets:
            target.write(_read_header(file))
        for name, place in one.tensors.items():
            if place.file == file:
                _merge_tensor(name, one, other, weights, targets)


def _merge_tensor(
    name: str,
    one: Mergeable,
    other: Mergeable,
    weights: Sequence[float],
    targets: Sequence[BinaryIO],
) -> None:
    from safetensors import safe_open

    mine, theirs = one.tensors[name], other.tensors[name]
    with safe_open(mine.file, "pt") as first, safe_open(theirs.file, "pt") as second:
        ours_N = first.get_tensor(mine.name).flatten()
        others_N = second.get_tensor(theirs.name).flatten()
        if not ours_N.is_floating_point() and not torch.equal(ours_N, others_N):
            raise ConfigError(
                f"{name} holds whole numbers ({mine.dtype}) that differ, which have no mean; merge "
                "checkpoints of one model"
            )
        for start in range(0, len(ours_N), PIECE):
            a_N, b_N = (tensor[start : start + PIECE] for tensor in (ours_N, others_N))
            _check_finite(name, one.path, a_N)
            _check_finite(name, other.path, b_N)
            if a_N.is_floating_point() and not torch.isfinite(b_N.to(a_N.dtype)).all():
                raise ConfigError(
                    f"{name} of {other.path} holds numbers beyond {mine.dtype}, the type that "
                    f"{one.path} has; save the first in {theirs.dtype}"
                )
            for weight, target in zip(weights, targets, strict=True):
                merged_N = mix(a_N, b_N, weight).contiguous().view(torch.uint8)
                target.write(merged_N.numpy().data)


def _check_finite(name: str, path: str, values_N: Shaped[Tensor, " N"]) -> None:
    """Refuses what a run that diverged leaves behind: its mean with anything is NaN or infinite."""
    wide = torch.promote_types(values_N.dtype, torch.float32)
    if not bool(torch.isfinite(values_N.to(wide)).all()):
        raise ConfigError(
            f"{name} of {path} holds NaN or an infinity, as after a run that diverged; merge an "
            "earlier checkpoint"
        )
