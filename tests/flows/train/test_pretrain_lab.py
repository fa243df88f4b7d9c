"""`tersely lab pretrain`: both stages, small."""

from functools import partial
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tersely.engines import folders
from tersely.engines.models import load_policy
from tersely.flows.train import pretrain_lab as flow
from tersely.flows.train.pretrain_lab import RECIPE, STAGES
from tersely.lab import pretrain

TINY = Path(__file__).parents[1] / "tiny.toml"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = partial(pretrain.pretrain, steps=3, batch_tokens=256)
    monkeypatch.setattr(pretrain, "pretrain", small)
    monkeypatch.setattr(flow, "shipped", {RECIPE: TINY}.__getitem__)


def make(folder: Path, *, seed: int = 0, check: bool = True) -> tuple[bool, str]:
    said = StringIO()
    console = Console(file=said, width=200)
    return flow.pretrain_lab(folder, seed=seed, console=console, check=check), said.getvalue()


def test_a_seed_gives_both_models_again_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make(tmp_path / "first", check=False)[0]
    for stage, name in STAGES.items():
        monkeypatch.setitem(folders.LABS, name, str(tmp_path / "first" / stage))
    same, said = make(tmp_path / "again")
    assert same, said
    assert said.count("equal, bit for bit") == 2
    assert "kind of CPU" not in said
    same, said = make(tmp_path / "other", seed=1)
    assert not same
    assert said.count("differ by up to") == 2
    assert "kind of CPU" in said


def test_the_reasoner_is_the_supervised_model_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After three supervised steps nothing is ever right, and nothing is learned from that.
    able = load_policy("lab-v1")
    monkeypatch.setattr(pretrain, "pretrain", lambda **_: (able.model, able.tokenizer))
    make(tmp_path, check=False)
    supervised, reasoner = (
        load_policy(str(tmp_path / stage)).model.state_dict() for stage in STAGES
    )
    assert supervised.keys() == reasoner.keys()
    assert all(able.model.state_dict()[key].equal(supervised[key]) for key in supervised)
    assert any(not supervised[key].equal(reasoner[key]) for key in supervised)
    assert (tmp_path / "run" / "steps.jsonl").is_file()
