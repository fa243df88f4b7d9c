"""``tersely rewards``."""

from pathlib import Path
from typing import Annotated

import typer

from tersely.cli.frame import output, plain_errors

rewards_app = typer.Typer(
    help="The rewards that a recipe may name: formula, source, defaults.",
    invoke_without_command=True,
)


@rewards_app.callback()
def rewards(context: typer.Context) -> None:
    """List every reward with its formula, source, parameters and what it needs."""
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table
    from rich.text import Text

    from tersely.flows.reward_curve import describe_rewards

    table = Table(show_lines=True)
    for column in ("reward", "what it pays", "parameters", "needs", "source"):
        table.add_column(column)
    for facts in describe_rewards():
        cells = (facts.name, facts.formula, facts.defaults, facts.needs, facts.source)
        table.add_row(*(Text(cell) for cell in cells))
    output().print(table)


@rewards_app.command()
def plot(
    name: Annotated[str, typer.Argument(help="Reward to draw.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter: alpha=0.2. Repeatable.")
    ] = None,
    group: Annotated[
        str, typer.Option(help="The other rollouts: right or wrong and tokens, r2000 w6000.")
    ] = "r1500 r3000 r5000 w2500 w7000",
    target: Annotated[float, typer.Option(help="Target length L_T in tokens.")] = 4096,
    cap: Annotated[int, typer.Option(help="Sampling cap L_R in tokens.")] = 8192,
    out: Annotated[Path | None, typer.Option(help="PNG to write. Default: NAME.png")] = None,
) -> None:
    """Draw what one more right, or wrong, rollout of each length would be paid in a group."""
    from tersely.core.errors import ConfigError
    from tersely.flows.config import read_value
    from tersely.flows.reward_curve import read_group, trace_reward
    from tersely.report.rewards import draw_reward, render_png

    with plain_errors():
        parameters = dict(read_value(entry) for entry in set_ or [])
        members = read_group(group)
        if cap < 2 or target <= 0:
            raise ConfigError(f"--cap {cap} must be 2 or more, and --target {target:g} above 0")
        points = trace_reward(name, parameters, members, target_tokens=target, cap_tokens=cap)
        settings = ", ".join(f"{key} = {value}" for key, value in parameters.items())
        file = out or Path(f"{name}.png")
        spec = draw_reward(
            points,
            title=f"{name} {settings}".strip(),
            subtitle=f"beside {group}; target {target:g} (dashed), cap {cap}",
            target_tokens=target,
            members=members,
        )
        file.write_bytes(render_png(spec))
        output().print(f"picture: {file}", highlight=False, soft_wrap=True)
