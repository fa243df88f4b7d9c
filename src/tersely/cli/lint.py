"""``tersely lint``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group

from tersely.cli.frame import messages, plain_errors, show
from tersely.cli.options import (
    ReadOptions,
    RecipeOrDemo,
    RecipeOverrides,
    flattened,
    reader_options,
)
from tersely.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tersely.flows.lint.facts import LintFacts
    from tersely.flows.lint.forecast import Finding
    from tersely.flows.lint.suggest import Suggestion
    from tersely.flows.recipe.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class LintOptions:
    """What is asked of a recipe, and in which form the answer is given."""

    tokens_per_second: Annotated[
        float | None,
        typer.Option(help="Throughput of sampling and learning together, for hours."),
    ] = None
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Propose L_T, L_R, N and a band from the records.")
    ] = False
    out: Annotated[
        Path | None, typer.Option(help="--suggest: write the proposed recipe here (TOML).")
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a finding is an error.")] = (
        False
    )


@flattened
def lint(
    *,
    records: Annotated[
        Path,
        typer.Option(help="Rollouts of the base model: a folder of tersely eval, or a file."),
    ],
    recipe: RecipeOrDemo = None,
    set_: RecipeOverrides = None,
    reading: ReadOptions,
    options: LintOptions,
) -> None:
    """Say what a recipe will do to a model, from its rollouts, before any GPU time is spent."""
    with plain_errors():
        from tersely.flows.recipe.recipe import find_recipe, read_recipe, shipped

        rate = options.tokens_per_second
        if rate is not None and not rate > 0:
            raise ConfigError(f"--tokens-per-second {rate:g} must be above 0")
        _check_out(options.out, suggest=options.suggest)
        file = find_recipe(recipe) if recipe else shipped("demo")
        settings = read_recipe(file, overrides=set_ or [])
        name = recipe.name if recipe else "demo"
        findings = _lint(records, settings, reading, options, name=name)
    if options.strict and any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


def _lint(
    records: Path, settings: "Recipe", reading: ReadOptions, options: LintOptions, *, name: str
) -> "Sequence[Finding]":
    """Shows what was found, and gives it."""
    from tersely.flows.lint import find
    from tersely.flows.lint.facts import gather
    from tersely.flows.lint.pool import only_trained, read_pool
    from tersely.flows.lint.suggest import suggest

    rate = options.tokens_per_second
    messages.print(f"reading {records} ...", soft_wrap=True)
    whole = read_pool(
        records,
        settings,
        reader=reading.from_,
        options=reader_options(reading, run=records.stem),
    )
    messages.print("judging the rollouts ...")
    facts = gather(settings, only_trained(whole, settings), tokens_per_second=rate)
    findings = find(facts)
    suggestion = None
    if options.suggest:
        messages.print("weighing other settings ...")
        suggestion = suggest(settings, whole, tokens_per_second=rate)
    _show(facts, findings, suggestion, name=name)
    if suggestion is not None and options.out is not None:
        _write(suggestion.recipe, options.out)
    return findings


def _check_out(out: Path | None, *, suggest: bool) -> None:
    if out is not None and not suggest:
        raise ConfigError("--out writes what --suggest proposes; give both")
    if out is not None and out.exists():
        raise ConfigError(f"{out} exists; choose another --out")


def _show(
    facts: "LintFacts",
    findings: "Sequence[Finding]",
    suggestion: "Suggestion | None",
    *,
    name: str,
) -> None:
    from tersely.flows.lint import describe
    from tersely.flows.lint.suggest import compare
    from tersely.report.tables.lint import draw_lint, draw_suggestion, export_lint

    drawn = draw_lint(
        describe(facts, name=name),
        findings,
        cells=facts.cells,
        curve=facts.curve,
        target_tokens=facts.target_tokens,
        parts=facts.parts,
        notes=facts.pool.notes,
    )
    if suggestion is not None:
        proposed = draw_suggestion(
            suggestion.reasons,
            at_target=suggestion.at_target,
            at_cap=suggestion.at_cap,
            silent_at=suggestion.silent_at,
            chosen=suggestion.chosen,
            changes=compare(facts, suggestion.facts),
        )
        drawn = Group(drawn, proposed)
    show(drawn, {"kind": "lint", **export_lint(facts, findings, suggestion)})


def _write(recipe: "Recipe", out: Path) -> None:
    from tersely.core.storage import write_atomically
    from tersely.flows.recipe.recipe import as_toml

    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, as_toml(recipe))
    messages.print(f"recipe: {out}", soft_wrap=True)
