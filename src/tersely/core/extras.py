"""What is installed only where it is wanted: which extra of ours brings a missing library."""

from importlib.util import find_spec

from tersely.core.errors import ConfigError

_LIBRARIES = {
    "train": ("torch", "transformers", "tokenizers", "safetensors", "peft"),
    "grade": ("langdetect", "latex2sympy2_extended", "math_verify", "reasoning_gym"),
    "trl": ("trl", "accelerate", "datasets"),
    "verl": ("verl", "ray", "hydra", "omegaconf"),
    "vllm": ("vllm",),
    "track": ("wandb", "tensorboard", "trackio", "mlflow"),
}


def say_missing(module: str, *, what: str = "this", extra: str | None = None) -> str | None:
    """What is missing and how to install it; None for a library of no extra.

    Args:
        what: needs it.
        extra: that brings it, where several could.
    """
    library = module.partition(".")[0]
    found = extra or next((e for e, libraries in _LIBRARIES.items() if library in libraries), None)
    if found is None:
        return None
    apart = ", in an environment of its own" if found in ("trl", "verl", "vllm") else ""
    return (
        f"{what} needs {library}, which is not installed: install tersely[{found}]{apart} "
        f"(in a checkout of tersely: pip install '.[{found}]')"
    )


def first_absent(*libraries: str) -> str | None:
    """The first of these that is not installed; None if all are.

    A folder of the same name, such as the ``wandb/`` that its client makes, is no library.
    """
    specs = {library: find_spec(library) for library in libraries}
    return next((name for name, spec in specs.items() if spec is None or not spec.origin), None)


def refuse_absent(*libraries: str, what: str, extra: str) -> None:
    """ConfigError for the first of these that is not installed, before any work is done."""
    if absent := first_absent(*libraries):
        raise missing(absent, what=what, extra=extra)


def missing(module: str, *, what: str, extra: str | None = None) -> ConfigError:
    """The error of something that needs a library which is not installed."""
    return ConfigError(say_missing(module, what=what, extra=extra) or f"{what} needs {module}")
