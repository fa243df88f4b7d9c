"""Checks that an engine whose private interface we use has a tested version."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

from tersely.core import extras
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
            what = f"tersely launch {extra}"
            raise extras.missing(package, what=what, extra=extra) from error
        wanted = f">={least},<{beyond}"
        if not SpecifierSet(wanted).contains(found, prereleases=True):
            raise ConfigError(
                f"{package} {found} is outside the tested range, {package}{wanted}; "
                f"run pip install '{package}{wanted}'"
            )
