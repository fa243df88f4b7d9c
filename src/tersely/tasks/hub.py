"""The files of a dataset on the Hugging Face hub, from its cache or downloaded once."""

import os
from pathlib import Path

from tersely.core.errors import ConfigError
from tersely.tasks.benchmarks import Benchmark


def find_files(benchmark: Benchmark, patterns: tuple[str, ...]) -> list[Path]:
    """The benchmark's files at its pinned revision, in the order of the patterns.

    Raises:
        ConfigError: they are not in the cache and cannot be downloaded; the message says how.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ConfigError(
            f"{benchmark.name} is on the Hugging Face hub; pip install huggingface_hub"
        ) from error
    try:
        folder = snapshot_download(
            benchmark.dataset,
            repo_type="dataset",
            revision=benchmark.revision,
            allow_patterns=list(patterns),
            local_files_only=os.environ.get("HF_HUB_OFFLINE") == "1",
        )
    # It raises errors of its own, of httpx and of the file system.
    except Exception as error:
        raise ConfigError(_say_missing(benchmark, error)) from error
    found = [file for pattern in patterns for file in sorted(Path(folder).glob(pattern))]
    if not found:
        raise ConfigError(_say_missing(benchmark, FileNotFoundError(", ".join(patterns))))
    return found


def _say_missing(benchmark: Benchmark, error: Exception) -> str:
    gate = (
        f" Its terms have to be accepted on its page first, and HF_TOKEN set ({benchmark.dataset})."
        if benchmark.gated
        else ""
    )
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return (
        f"{benchmark.name} ({benchmark.dataset} at {benchmark.revision or 'its newest revision'}) "
        f"cannot be had: {reason}. Where there is a network: tersely benchmarks --out "
        f"{benchmark.name}.jsonl {benchmark.name}, then give that file, or copy the cache folder "
        f"(HF_HOME).{gate}"
    )
