"""``tersely rewards``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tersely.cli.frame import check_written, plain_errors, show
from tersely.core.errors import ConfigError

MOST_TOKENS = 10**9


def rewards(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[plot NAME]", help="Nothing: list them. plot NAME: draw one."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="plot: a parameter, alpha=0.2. Repeatable.")
    ] = None,
    group: Annotated[
        str, typer.Option(help="plot: the group's other rollouts, r(ight) or w(rong) and tokens.")
    ] = "r1500 r3000 r5000 w2500 w7000",
    target_tokens: Annotated[float, typer.Option(help="plot: target length L_T.")] = 4096,
    cap_tokens: Annotated[int, typer.Option(help="plot: sampling cap L_R.")] = 8192,
    out: Annotated[Path | None, typer.Option(help="plot: PNG to write. Default: NAME.png")] = None,
) -> None:
    """List the rewards with formula, source and parameters, or draw one over length."""
    with plain_errors():
        if not words:
            _list()
        elif words[0] == "plot" and len(words) == 2:
            _plot(
                words[1],
                set_ or [],
                group,
                target_tokens=target_tokens,
                cap_tokens=cap_tokens,
                out=out,
            )
        else:
            raise ConfigError(f"{' '.join(words)!r} is not plot NAME; try plot kimi")


def _list() -> None:
    from tersely.flows.recipe.reward_curve import describe_rewards
    from tersely.report.tables.terminal import FittedRecords

    found = describe_rewards()
    heads = ("reward", "what it pays", "parameters", "needs", "source")
    rows = [(each.name, each.formula, each.parameters, each.needs, each.source) for each in found]
    show(FittedRecords(heads, rows), {"kind": "rewards", "rewards": found})


def _plot(
    name: str,
    entries: Sequence[str],
    group: str,
    *,
    target_tokens: float,
    cap_tokens: int,
    out: Path | None,
) -> None:
    from tersely.flows.recipe.recipe import read_value
    from tersely.flows.recipe.reward_curve import read_group, trace_reward
    from tersely.report.charts.rewards import draw_reward, render_png

    parameters = dict(read_value(entry) for entry in entries)
    members = read_group(group)
    if not 2 <= cap_tokens <= MOST_TOKENS:
        raise ConfigError(
            f"--cap-tokens {cap_tokens} is outside 2 to {MOST_TOKENS:,}; a lower cap draws nothing"
        )
    if not 0 < target_tokens <= MOST_TOKENS:
        raise ConfigError(
            f"--target-tokens {target_tokens:g} must be above 0 and at most {MOST_TOKENS:,}"
        )
    check_written(out=out)
    points = trace_reward(
        name, parameters, members, target_tokens=target_tokens, cap_tokens=cap_tokens
    )
    settings = ", ".join(f"{key} = {value}" for key, value in parameters.items())
    spec = draw_reward(
        points,
        title=f"{name} {settings}".strip(),
        subtitle=f"beside {group}; target {target_tokens:g} tokens (dashed), cap {cap_tokens}",
        target_tokens=target_tokens,
        members=members,
    )
    file = out or Path(f"{name}.png")
    file.write_bytes(render_png(spec))
    show(f"picture: {file}", {"kind": "reward", "name": name, "points": points, "picture": file})
