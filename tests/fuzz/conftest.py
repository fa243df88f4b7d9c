"""How often and how long: the same examples each time, more of them where TERSELY_FUZZ says so."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

sys.path.insert(0, str(Path(__file__).parent))

# Another seed than the one that everybody runs: TERSELY_FUZZ=2000 TERSELY_FUZZ_NEW=1.
settings.register_profile(
    "fuzz",
    derandomize="TERSELY_FUZZ_NEW" not in os.environ,
    database=None,
    # The deadline is in calling.py: hypothesis would only tell afterwards.
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    print_blob=False,
)
settings.load_profile("fuzz")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what TERSELY_FUZZ_TALLY counted."""
    calling = sys.modules.get("calling")
    if calling is None or not calling.TALLY:
        return
    for shown in calling.BROKEN.values():
        terminalreporter.write_line(f"---- {shown}")
    for (kind, code), count in sorted(calling.COUNTS.items(), key=str):
        terminalreporter.write_line(f"{kind}: {code}: {count:,}")
