"""Versions of an engine whose inner workings we rely on: the tested ones, and no others."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from tersely.core.errors import ConfigError


def check_versions(tested: Mapping[str, tuple[str, str]], *, extra: str) -> None:
    """Refuses versions that were never tested.

    Args:
        tested: by package, the least version tested and the first one that is not.
        extra: of ours, which installs them.
    Raises:
        ConfigError: a package is not there, or of a version outside the range.
    """
    for package, (least, beyond) in tested.items():
        try:
            found = version(package)
        except PackageNotFoundError as error:
            raise ConfigError(
                f"{package} is not installed; make an environment of its own for it and run "
                f"pip install 'tersely[{extra}]' there"
            ) from error
        if not _numbers(least) <= _numbers(found) < _numbers(beyond):
            raise ConfigError(
                f"{package} {found} is outside the tested range, {package}>={least},<{beyond}; "
                f"run pip install '{package}>={least},<{beyond}'"
            )


def _numbers(text: str) -> tuple[int, ...]:
    """A version's numbers up to the first part that is none."""
    numbers = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
