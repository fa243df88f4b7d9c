"""A reward over length, drawn."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

from tersely.report.charts.style import CONFIG, FAINT, RIGHT_WRONG, SCHEMA, layer

Point = tuple[int, bool, float]


def draw_reward(
    points: Sequence[Point],
    *,
    title: str,
    subtitle: str,
    target_tokens: float,
    members: Sequence[tuple[bool, int]],
) -> dict[str, Any]:
    """Reward of one more right and one more wrong rollout over its length; ticks: the group."""
    rows = [
        {"tokens": tokens, "rollout": "correct" if right else "wrong", "reward": reward}
        for tokens, right, reward in points
    ]
    colour = alt.Color(
        "rollout:N",
        title=None,
        scale=alt.Scale(domain=list(RIGHT_WRONG), range=list(RIGHT_WRONG.values())),
        legend=alt.Legend(orient="top"),
    )
    x = alt.X("tokens:Q", title="length (tokens)")
    line = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(strokeWidth=2.2)
        .encode(x=x, y=alt.Y("reward:Q", title="reward"), color=colour)
    )
    target = (
        alt.Chart(alt.InlineData(values=[{"tokens": target_tokens}]))
        .mark_rule(color=FAINT, strokeDash=[5, 3])
        .encode(x=alt.X("tokens:Q"))
    )
    group = (
        alt.Chart(
            alt.InlineData(
                values=[
                    {"tokens": tokens, "rollout": "correct" if right else "wrong"}
                    for right, tokens in members
                ]
            )
        )
        .mark_tick(thickness=2, size=14, yOffset=-7)
        .encode(x=alt.X("tokens:Q"), y=alt.value(300), color=colour)
    )
    heading = {"text": title, "subtitle": subtitle}
    chart = layer(line, target, group, title=heading, width=620, height=300)
    return {"$schema": SCHEMA, **chart, "config": CONFIG}


def render_png(spec: dict[str, Any]) -> bytes:
    """The picture at twice its size."""
    png: bytes = vl_convert.vegalite_to_png(spec, scale=2)
    return png
