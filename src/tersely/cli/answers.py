"""What ``tersely curate`` asks about answers to train on, and shows of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import show
from tersely.cli.sampling import MOST_SAMPLES
from tersely.flows.curate.answers import (
    ANSWER_FILES,
    AnswerChoice,
    Rejected,
    Write,
    WrittenAnswers,
    check_answers,
    warn_lost,
    write_answers,
)

if TYPE_CHECKING:
    from tersely.flows.curate.session import CuratedSet


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """Which of the samples are written as answers to train on."""

    write: Annotated[
        list[Write] | None,
        typer.Option(
            help="Answers, too: sft (the shortest right sample of each kept problem) or pairs (a "
            "short right one preferred over a longer one), for TRL and verl. Repeatable."
        ),
    ] = None
    rejected: Annotated[
        Rejected, typer.Option(help="pairs: the longer answer is right as well, or wrong.")
    ] = Rejected.RIGHT
    gap: Annotated[
        float,
        typer.Option(help="pairs: least share of the longer one's tokens that is saved."),
    ] = 0.1
    pairs: Annotated[int, typer.Option(max=MOST_SAMPLES, help="pairs: most of a problem.")] = 1
    drop_system_prompt: Annotated[
        bool,
        typer.Option(
            "--drop-system-prompt",
            help="Prompts without the --system-prompt that the samples were made with.",
        ),
    ] = False

    def choice(self) -> AnswerChoice:
        """The same, checked.

        Raises:
            ConfigError: naming the option, its value and the fix.
        """
        given = AnswerChoice(
            write=tuple(dict.fromkeys(self.write or ())),
            rejected=self.rejected,
            gap=self.gap,
            pairs=self.pairs,
            told=not self.drop_system_prompt,
        )
        check_answers(given)
        return given


def show_answers(
    out: Path, sets: "Mapping[str, CuratedSet]", samples: Path, choice: AnswerChoice
) -> None:
    """Writes answers beside each set's problems and on its card what there was of them."""
    from tersely.core.manifest import EvaluationManifest, read_manifest
    from tersely.flows.curate.files import CARD_FILE
    from tersely.readers.evaluations import RECORDS_FILE
    from tersely.report.tables.curated import say_written

    made = read_manifest(samples, EvaluationManifest)
    told: dict[str, dict[str, WrittenAnswers]] = {}
    for name, chosen in sets.items():
        found = write_answers(
            out / name, chosen.problems, samples / RECORDS_FILE, choice, made_of=made
        )
        lines = [f"{name}: {say_written(kind, each)}" for kind, each in found.items()]
        if found:
            told[name] = found
            with (out / name / CARD_FILE).open("a", encoding="utf-8") as card:
                card.write("\n## Answers\n\n" + "\n".join(f"- {line}" for line in lines) + "\n")
            show("\n".join(lines), {"answers": told})
        if made.files is not None and Path(made.model).is_dir():
            _check(out / name, found, model=made.model)


def _check(folder: Path, found: Mapping[str, WrittenAnswers], *, model: str) -> None:
    from tersely.engines.models import load_tokenizer

    tokenizer = load_tokenizer(model)
    for kind in found:
        warn_lost(folder / ANSWER_FILES[kind][0], tokenizer)
