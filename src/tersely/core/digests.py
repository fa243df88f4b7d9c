"""Short digests of what a run is made from: model folders, tokenizers, prompts."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from tersely.core.manifest import ModelFiles

# What a run is made from besides config.json, *.safetensors, tokenizer* and chat_template*.
_OTHER_FILES = {
    "stop_tokens_digest": ("generation_config.json",),
    "other_weights_digest": (
        "*.bin", "*.pt", "*.pth", "*.h5", "*.index.json", "adapter_config.json",
    ),
    "other_tokenizer_digest": (
        "vocab*", "merges*", "*.model", "*.tiktoken", "special_tokens_map.json",
        "added_tokens.json", "additional_chat_templates/*",
    ),
    "code_digest": ("*.py",),
}  # fmt: skip


def digest_model(folder: Path) -> ModelFiles:
    """Digests of all files of a model folder that decide what is sampled from it.

    Only contents and names count, so a folder may be moved, linked or touched.
    """
    other = {key: _digest_named(folder, patterns) for key, patterns in _OTHER_FILES.items()}
    return ModelFiles(
        model_digest=digest_of(folder),
        tokenizer_digest=digest_files(_prompt_files(folder)),
        stop_tokens_digest=other["stop_tokens_digest"],
        other_weights_digest=other["other_weights_digest"],
        other_tokenizer_digest=other["other_tokenizer_digest"],
        code_digest=other["code_digest"],
    )


def digest_tokenizer(path: str | None) -> str:
    """A short digest of a tokenizer's folder, or of its single file; "none" where there is none."""
    if path is None:
        return "none"
    place = Path(path)
    if not place.is_dir():
        return digest_files([place] if place.is_file() else [])
    others = _digest_named(place, _OTHER_FILES["other_tokenizer_digest"])
    return digest_files(_prompt_files(place)) + ("" if others == "none" else f" {others}")


def digest_prompts(prompts: Iterable[Sequence[int]]) -> str:
    """A short digest of rendered prompts, in order."""
    state = blake2b(digest_size=8)
    for ids in prompts:
        state.update(f"{' '.join(map(str, ids))}\n".encode())
    return state.hexdigest()


def digest_of(folder: Path) -> str:
    """A short digest of a model folder's configuration and weights."""
    return digest_files([folder / "config.json", *folder.glob("*.safetensors")])


def digest_files(files: Iterable[Path]) -> str:
    """A short digest of the contents of files, in the order of their names."""
    state = blake2b(digest_size=8)
    for file in sorted(files):
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                state.update(block)
    return state.hexdigest()


def _digest_named(folder: Path, patterns: Sequence[str]) -> str:
    """A short digest of names and contents of the files that match; "none" where none does."""
    found = sorted({file for p in patterns for file in folder.glob(p) if file.is_file()})
    state = blake2b(digest_size=8)
    for file in found:
        state.update(f"{file.relative_to(folder)}\x1f{digest_files([file])}\x1e".encode())
    return state.hexdigest() if found else "none"


def _prompt_files(folder: Path) -> list[Path]:
    found = (*folder.glob("tokenizer*"), *folder.glob("chat_template*"))
    return [file for file in found if file.is_file()]
