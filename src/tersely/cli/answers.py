"""What ``tersely curate`` asks about answers to train on, and shows of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import show
from tersely.cli.options import changed
from tersely.cli.sampling import MOST_SAMPLES
from tersely.core.errors import ConfigError
from tersely.flows.curate.answers import (
    ANSWER_FILES,
    AnswerChoice,
    MadeAnswers,
    Rejected,
    Write,
    WrittenAnswers,
    check_answers,
    clear_answers,
    make_answers,
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
        self._refuse_unused(given.write)
        return given

    def _refuse_unused(self, write: tuple[Write, ...]) -> None:
        """Refuses what no kind that is written looks at."""
        for name, value in changed(self).items():
            said = name if isinstance(value, bool) else f"{name} {value}"
            if name != "--write" and not write:
                raise ConfigError(f"{said} is of --write, which is not given; add --write pairs")
            if name in ("--gap", "--pairs", "--rejected") and Write.PAIRS not in write:
                raise ConfigError(
                    f"{said} is of --write pairs, and --write sft has none; leave it out"
                )


def answers_of(
    sets: "Mapping[str, CuratedSet]", samples: Path, choice: AnswerChoice
) -> dict[str, dict[Write, MadeAnswers]]:
    """By set, the answers that will stand beside its problems.

    Raises:
        ConfigError: a set has none of a kind.
    """
    from tersely.core.manifest import EvaluationManifest, read_manifest
    from tersely.readers.evaluations import RECORDS_FILE

    made, records = read_manifest(samples, EvaluationManifest), samples / RECORDS_FILE
    return {
        name: make_answers(chosen.problems, records, choice, made_of=made)
        for name, chosen in sets.items()
    }


def describe_answers(name: str, made: Mapping[Write, MadeAnswers]) -> list[str]:
    """What there was of answers for a set, a line a kind."""
    from tersely.report.tables.curated import say_written

    return [f"{name}: {say_written(kind, each.counts)}" for kind, each in made.items()]


def clear_and_card(folder: Path, made: Mapping[Write, MadeAnswers]) -> str:
    """Takes away what an earlier choice left in a set's folder; what its card says of answers."""
    clear_answers(folder)
    lines = "".join(f"- {line}\n" for line in describe_answers(folder.name, made))
    return f"\n## Answers\n\n{lines}" if lines else ""


def show_answers(
    out: Path, answers: Mapping[str, Mapping[Write, MadeAnswers]], samples: Path
) -> None:
    """Writes answers beside each set's problems, and shows what there was of them."""
    from tersely.core.manifest import EvaluationManifest, read_manifest

    manifest = read_manifest(samples, EvaluationManifest)
    told: dict[str, dict[str, WrittenAnswers]] = {}
    for name, made in answers.items():
        write_answers(out / name, made)
        if made:
            told[name] = {str(kind): each.counts for kind, each in made.items()}
            show("\n".join(describe_answers(name, made)), {"answers": told})
        if manifest.files is not None and Path(manifest.model).is_dir():
            _check(out / name, made, model=manifest.model)


def _check(folder: Path, made: Mapping[Write, MadeAnswers], *, model: str) -> None:
    from tersely.engines.models import load_tokenizer

    tokenizer = load_tokenizer(model)
    for kind in made:
        warn_lost(folder / ANSWER_FILES[kind][0], tokenizer)
