"""The probe of TRL's private methods: passed by TRL as it is, failed by a TRL that was doctored."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
import trl

from tersely.core.errors import ConfigError, EngineError
from tersely.flows.train import seams
from tersely.flows.trl import trainer
from tersely.flows.trl.probe import probe
from tersely.flows.trl.trainer import FORWARD, SEAM, TRL

pytestmark = pytest.mark.filterwarnings("ignore")
LOSS = "_compute_loss"


def test_trl_as_it_is_has_the_seams_and_passes_the_probe() -> None:
    assert [seams.misfit(seam) for seam in TRL.seams] == [None, None]
    assert seams.run_probe(TRL.probe) is None


def without_mask(inner: Any) -> Any:
    return lambda self, model, inputs: inner(
        self, model, {name: value for name, value in inputs.items() if name != "tool_mask"}
    )


def by_own_count(inner: Any) -> Any:
    def loss(self: Any, model: Any, inputs: Any) -> Any:
        own = inputs["completion_mask"].sum()
        return inner(self, model, {**inputs, "num_items_in_batch": own})

    return loss


def normalised(inner: Any) -> Any:
    def loss(self: Any, model: Any, inputs: Any) -> Any:
        adv_B = inputs["advantages"]
        scaled = (adv_B - adv_B.mean()) / (adv_B.std() + 1e-4)
        return inner(self, model, {**inputs, "advantages": scaled})

    return loss


def entropy_of_rows(inner: Any) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        logps, entropies, *rest = inner(self, *args, **kwargs)
        return logps, entropies * torch.nan, *rest

    return forward


def copied(inner: Any) -> Any:
    """A trainer that overwrites what its scoring returned."""

    def steps(self: Any, batch: Any) -> Any:
        output = inner(self, batch)
        return {**output, "advantages": output["advantages"] * 0 + 1}

    return steps


@pytest.mark.parametrize(
    ("method", "doctor", "finding"),
    [
        (LOSS, without_mask, "counts a row that tool_mask leaves out|loss is .* and ours -0.16"),
        (LOSS, by_own_count, "loss is .* and ours -0.16"),
        (LOSS, normalised, "loss is .* and ours -0.16"),
        (FORWARD, entropy_of_rows, "the entropy heard is nan nats"),
        ("_prepare_inputs", copied, r"is given the advantages \[1.0, 1.0\], which are not ours"),
    ],
)
def test_a_trl_that_does_something_else_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, doctor: Any, finding: str
) -> None:
    monkeypatch.setenv(seams.PASSED, seams.PROBING)
    inner = getattr(trl.GRPOTrainer, method)
    monkeypatch.setattr(trl.GRPOTrainer, method, doctor(inner))
    with pytest.raises(EngineError, match=finding):
        probe(tmp_path)


def test_a_method_of_another_form_is_refused_before_anything_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seams, "run_probe", lambda _: pytest.fail("tried"))
    monkeypatch.setattr(trl.GRPOTrainer, SEAM, lambda self, batch: batch)
    with pytest.raises(ConfigError, match=rf"{SEAM} takes \(self, batch\)"):
        seams.check_engine(trainer.TRL)
