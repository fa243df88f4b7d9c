"""Names in other people's scripts and other processes' environments work for one more version."""

import importlib
import subprocess
import sys

import pytest

from tersely.core.errors import TerselyWarning


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("tersely.flows.config", "tersely.flows.recipe.recipe", "read_recipe"),
        ("tersely.flows.launch_hooks", "tersely.flows.trl.hooks", "trl_hooks"),
        ("tersely.flows.launch_worker", "tersely.flows.trl.worker", "main"),
    ],
)
def test_an_old_name_is_the_new_one_and_says_so(old: str, new: str, name: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(TerselyWarning, match=rf"{old} is {new} now") as said:
        module = importlib.import_module(old)
    assert getattr(module, name) is getattr(importlib.import_module(new), name)
    assert len(said) == 1


def test_a_worker_started_under_its_old_name_works(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tersely.flows.launch_worker", str(tmp_path / "none")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "tersely.flows.launch_worker is tersely.flows.trl.worker now" in done.stderr
    assert f"error: no recipe at {tmp_path / 'none' / 'recipe.toml'}" in done.stderr
