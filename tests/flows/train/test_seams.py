"""Which versions of an engine a launch accepts."""

import pytest

from tersely.core.errors import ConfigError
from tersely.flows.train import versions


@pytest.mark.parametrize("found", ["1.16", "1.16.0", "1.16.3.dev1", "1.16.2+cu128", "1.16.9.post1"])
def test_a_version_in_the_tested_range_is_accepted(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr(versions, "version", lambda name: found)
    versions.check_versions({"trl": ("1.16", "1.17")}, extra="trl")


@pytest.mark.parametrize("found", ["1.15.9", "1.16.0rc1", "1.17.0rc1", "1.17", "2.0", "1.160"])
def test_a_version_outside_it_is_refused(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    monkeypatch.setattr(versions, "version", lambda name: found)
    with pytest.raises(ConfigError, match=r"^trl \S+ is outside .*, trl>=1.16,<1.17; run pip"):
        versions.check_versions({"trl": ("1.16", "1.17")}, extra="trl")
