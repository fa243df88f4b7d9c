"""Training without rewards through TRL's own trainers: on answers, on pairs, or towards the model
itself where it is told something."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

from tersely.core.errors import ConfigError, shortened
from tersely.core.extras import refuse_absent
from tersely.engines.folders import folder_of
from tersely.engines.models import load_tokenizer


class OfflineTrainer(StrEnum):
    """``SFTTrainer``, ``DPOTrainer`` and ``SDFTTrainer``, the last one experimental in TRL."""

    SFT = "sft"
    DPO = "dpo"
    DISTIL = "distil"


class StopAsked(Exception):
    """Training ends before its end, because somebody asked for it."""


def fit(
    trainer: OfflineTrainer,
    *,
    model: str,
    data: Path,
    out: Path,
    settings: Mapping[str, Any],
    most_tokens: int | None = None,
    wants_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Trains a model on a file of TRL's format and saves it; returns the tokens that were sampled.

    Only ``distil`` samples: from the model itself, whose distribution after the prompt and the
    column ``privileged_context`` it is drawn to.

    Args:
        data: JSON lines, as ``tersely curate --write`` makes them.
        settings: of the trainer's configuration, by TRL's names.
        most_tokens: training ends after the step in which so many were sampled.
    Raises:
        ConfigError: TRL is missing, or knows no such setting.
        StopAsked: ``wants_stop`` says so after a step; nothing is saved.
    """
    refuse_absent("trl", "datasets", what=f'method.name = "{trainer}"', extra="trl")
    import torch
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    # TRL and transformers announce each other's future changes.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config_class, trainer_class = _classes(trainer)
        check_settings(config_class, settings, where="trl")
        cuda = torch.cuda.is_available()
        usual = {"report_to": "none", "save_strategy": "no", "use_cpu": not cuda, "bf16": cuda}
        usual |= {"disable_tqdm": True, "output_dir": str(out.with_suffix(".trl"))}
        rows = load_dataset(
            "json", data_files=str(data), split="train", cache_dir=str(out.with_suffix(".cache"))
        )
        made = trainer_class(
            # A path: the teacher of distil is loaded from the same one.
            model=str(folder_of(model)),
            args=config_class(**{**usual, **settings}),
            train_dataset=rows,
            processing_class=load_tokenizer(model),
        )
        # It prints every log to stdout, which is for data.
        made.remove_callback(PrinterCallback)
        counts = _count_sampled(made)
        made.add_callback(_ending(counts, most_tokens, wants_stop))
        made.train()
    made.model.save_pretrained(out)
    load_tokenizer(model).save_pretrained(out)
    return sum(counts)


def check_trained(trainer: OfflineTrainer, settings: Mapping[str, Any], *, where: str) -> None:
    """Refuses settings that the trainer has not.

    Raises:
        ConfigError: names the setting, which stands in ``where``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_settings(_classes(trainer)[0], settings, where=where)


def check_settings(config_class: Any, settings: Mapping[str, Any], *, where: str) -> None:
    """Refuses what is no field of a trainer's configuration.

    Raises:
        ConfigError: names the setting, which stands in ``where``.
    """
    known = {field.name for field in fields(config_class)}
    for name, value in settings.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            fix = f"did you mean {near[0]!r}?" if near else "leave it out"
            raise ConfigError(
                f"{where}.{name} = {shortened(repr(value))} is no setting of TRL's "
                f"{config_class.__name__}; {fix}"
            )


def _classes(trainer: OfflineTrainer) -> tuple[Any, Any]:
    import trl

    if trainer is OfflineTrainer.SFT:
        return trl.SFTConfig, trl.SFTTrainer
    if trainer is OfflineTrainer.DPO:
        return trl.DPOConfig, trl.DPOTrainer
    from trl.experimental.sdft import SDFTConfig, SDFTTrainer

    return SDFTConfig, SDFTTrainer


def _count_sampled(trainer: Any) -> list[int]:
    """Tokens of each batch that the trainer samples, as it goes on; no batch if it samples none."""
    counts: list[int] = []
    inner = getattr(trainer, "sample_rollouts", None)

    def sample_rollouts(inputs: Any) -> Any:
        assert inner is not None
        batch = inner(inputs)
        counts.append(int(batch["raw_completion_lengths"].sum()))
        return batch

    if inner is not None:
        trainer.sample_rollouts = sample_rollouts
    return counts


def _ending(
    counts: list[int], most_tokens: int | None, wants_stop: Callable[[], bool]
) -> TrainerCallback:
    class Ending(TrainerCallback):  # type: ignore[misc]
        """TRL calls it; it forces the base class and the signature."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if wants_stop():
                raise StopAsked
            control.should_training_stop |= most_tokens is not None and sum(counts) >= most_tokens
            return control

    return Ending()
