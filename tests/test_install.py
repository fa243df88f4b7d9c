"""Every documented ``pip install`` of ours is one that ``make test-install`` knows how to try."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINES = sorted(
    {
        line
        for page in PAGES
        for line in re.findall(r"pip install (\S*'?\.\[[^\n#`]*)", page.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("line", LINES)
def test_a_documented_install_has_a_small_run_of_its_own(line: str) -> None:
    known = re.fullmatch(r"'\.\[([a-z,]+)\]'( vllm)?", line.strip())
    assert known is not None, f"pip install {line} is not tried: see documented() in .ci/install"
    script = (ROOT / ".ci" / "install").read_text(encoding="utf-8")
    assert f"\n    {known[1]}) " in script


def test_three_documented_installs_are_found() -> None:
    assert len(LINES) >= 3
