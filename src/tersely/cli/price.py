"""The price of a recipe, printed: tokens, seconds, memory and GPU-hours on two kinds of GPU."""

import sys
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.table import Table

from tersely.cli.frame import messages, note_facts
from tersely.core.extras import first_absent
from tersely.metrics.numbers import amount, three_digits

if TYPE_CHECKING:
    from tersely.flows.price.architecture import Architecture
    from tersely.flows.price.memory import Setup
    from tersely.flows.price.total import Price
    from tersely.flows.recipe.recipe import Recipe

GB = 1e9
CAVEAT = (
    "an estimate, not a measurement: 22 published steps took 0.9 to 1.8 times as long, half of "
    "them at most 1.1 times (docs/scale.md); grading and waiting for each other are left out"
)
BILLION = "B"


def show_price(
    recipe: "Recipe",
    setup: "Setup",
    *,
    evaluations: int,
    mean_tokens: int | None = None,
    test_cap_tokens: int | None = None,
    template: Mapping[str, Any] | None = None,
) -> None:
    """Prints the recipe; and to stderr what a step and the run cost at most and at a mean length.

    Args:
        evaluations: how often one process evaluates while the others wait; 0: an engine validates
            on all GPUs, or nobody does, and no evaluation is priced.
        test_cap_tokens: the cap of an engine's own evaluations.
        template: what an engine gives the chat template beside the messages.
    Raises:
        ConfigError: ``mean_tokens`` is beyond the cap, or the model or the problems, where they
            are here already, cannot be used.
    """
    from tersely.engines.folders import LABS
    from tersely.flows.price.architecture import find_architecture
    from tersely.flows.price.cost import describe_cost
    from tersely.flows.recipe.recipe import as_toml
    from tersely.report.tables.documents import describe_price

    _check_start(recipe, test_cap_tokens=test_cap_tokens, template=template)
    cost = describe_cost(recipe, evaluations=evaluations)
    model = None if recipe.model.path in LABS else find_architecture(recipe.model.path)
    prices = [] if model is None else _price(recipe, model, setup, mean_tokens)
    settings = recipe.model_dump(exclude_none=True, mode="json")
    if note_facts(describe_price(settings, cost, model, prices)):
        return
    sys.stdout.write(as_toml(recipe))
    _say(cost)
    if model is None:
        _say(_say_no_price(recipe.model.path))
        return
    _say(_describe_model(recipe, model))
    _show_prices(prices, setup, evaluations=evaluations)


def _show_prices(prices: "list[Price]", setup: "Setup", *, evaluations: int) -> None:
    messages.print(_draw(prices, evaluations=evaluations))
    misfits = [line for price in prices[:2] for line in _misfits(price, setup, evaluations)]
    for line in (*misfits, CAVEAT):
        _say(line)


def _say_no_price(path: str) -> str:
    from tersely.engines.folders import LABS
    from tersely.flows.price.architecture import KNOWN

    if path in LABS:
        return "price: none, for the lab's model is made for a CPU"
    return (
        f"price: not known, for there is no config.json of a known form in {path}, and its name "
        f"is none of {', '.join(KNOWN)}"
    )


def _check_start(
    recipe: "Recipe", *, test_cap_tokens: int | None, template: Mapping[str, Any] | None
) -> None:
    """Refuses what the run itself would refuse before it loads weights, and says what is not here
    yet; a price is of use before anything is fetched or installed."""
    from tersely.engines.folders import LABS, folder_of, say_absent

    absent = say_absent(recipe.model.path)
    if absent is not None:
        messages.print(f"note: the run itself would stop: {absent}")
        return
    folder_of(recipe.model.path)
    from tersely.lab.problems import SETS

    named = {recipe.problems.train, recipe.problems.test}
    if recipe.model.path in LABS and named <= SETS.keys():
        return
    if first_absent("torch", "transformers") is not None:
        return
    from tersely.flows.train.session import prepare

    prepare(recipe, Path(), test_cap_tokens=test_cap_tokens, template=template)


def _price(
    recipe: "Recipe", model: "Architecture", setup: "Setup", mean_tokens: int | None
) -> "list[Price]":
    """At the cap and, if it is given, at a mean length, on each kind of GPU."""
    from tersely.flows.price.roofline import H100, H200
    from tersely.flows.price.total import price_of

    lengths = [recipe.sampling.cap_tokens, *([] if mean_tokens is None else [mean_tokens])]
    return [
        price_of(recipe, model, gpu, setup, mean_tokens=length)
        for length in lengths
        for gpu in (H100, H200)
    ]


def _say(text: str) -> None:
    messages.print(text)


def _describe_model(recipe: "Recipe", model: "Architecture") -> str:
    active = (
        f", {amount(model.active_parameters, billion='B')} of them active a token"
        if model.experts
        else ""
    )
    return (
        f"{recipe.model.path}: {amount(model.parameters, billion='B')} parameters{active}, "
        f"{model.cache_bytes:,} bytes of cache a token"
    )


class _Row(NamedTuple):
    label: str
    value: "Callable[[Price], str]"


def _draw(prices: "Sequence[Price]", *, evaluations: int) -> Table:
    """A column a price."""
    rows = [
        _Row("rollouts a step", lambda p: f"{p.rollouts:,}"),
        _Row("tokens a step", lambda p: amount(p.completion_tokens, billion=BILLION)),
        _Row("learning, FLOPs a step", lambda p: f"{p.training_flops:.2g}"),
        _Row("sampling, s a step", lambda p: three_digits(p.sampling_s)),
        _Row("learning, s a step", lambda p: three_digits(p.learning_s)),
        _Row("step, s", lambda p: three_digits(p.step_s)),
        _Row("GPU-hours a step", lambda p: three_digits(p.step_gpu_hours)),
        _Row("GPU-hours, all steps", lambda p: three_digits(p.step_gpu_hours * p.steps)),
        *_evaluation_row(evaluations),
        _Row("rows at once, of a sampler's", lambda p: f"{p.memory.in_flight:,}/{p.memory.rows:,}"),
        _Row("learner, GB a GPU", lambda p: three_digits(p.memory.learning / GB)),
        _Row("sampler, GB a GPU", lambda p: three_digits(p.memory.sampling / GB)),
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    gpus = prices[0].gpus
    table.add_column(f"{gpus} GPU{'s' if gpus > 1 else ''}, tokens a rollout:")
    for price in prices:
        length = price.completion_tokens // price.rollouts
        table.add_column(f"{price.gpu.name}\n{length:,}", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.label, *(row.value(price) for price in prices))
    return table


def _evaluation_row(evaluations: int) -> list[_Row]:
    if not evaluations:
        return []
    label = f"GPU-hours, {evaluations} evaluations"
    return [_Row(label, lambda p: three_digits(p.evaluation_gpu_hours * evaluations))]


def _misfits(price: "Price", setup: "Setup", evaluations: int) -> list[str]:
    """What does not fit on this kind of GPU, and what to do."""
    kind, lines = price.gpu.name, []
    if price.gpus_needed is None:
        lines.append(
            f"does not fit on {price.gpus} {kind}, nor on more: lower learner.micro_batch_tokens "
            "or sampling.cap_tokens, set model.gradient_checkpointing = true, or "
            + (
                "spread each sampler over more GPUs or give it more of their memory"
                if setup.sharded
                else "share weights and optimizer out (trl.fsdp = true)"
            )
        )
    elif not price.fits:
        needed = price.gpus_needed + price.sampling_gpus
        lines.append(f"does not fit on {price.gpus} {kind}; needs at least {needed}")
    if evaluations and isnan(price.evaluation_s):
        lines.append(
            f"an evaluation, which one process makes, does not fit on one {kind}: the run would "
            "stop at its first"
        )
    return lines
