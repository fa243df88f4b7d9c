"""The figures of bench/gpu.py as Markdown; what is not known is a dash."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

DONE = "done"
Found = Mapping[str, Mapping[str, Any]]
Cell = Callable[[Mapping[str, Any]], str]


def number(key: str, form: str = ",.0f", *, times: float = 1, unit: str = "") -> Cell:
    """A figure in a form of its own, or a dash."""

    def cell(part: Mapping[str, Any]) -> str:
        value = part.get(key)
        return "–" if value is None else f"{value * times:{form}}{unit}"

    return cell


def mean(key: str, *, times: float = 1, form: str = ".1f", unit: str = "") -> Cell:
    """A mean with its interval, or a dash."""

    def cell(part: Mapping[str, Any]) -> str:
        if (value := part.get(key)) is None:
            return "–"
        estimate, low, high = (f"{x * times:{form}}" for x in value[:3])
        return f"{estimate}{unit} [{low}, {high}]"

    return cell


def passed(part: Mapping[str, Any]) -> str:
    """What came of a check."""
    return {True: "yes", False: "NO"}.get(part.get("passed"), "–")


PERCENT = {"form": ".1f", "times": 100, "unit": "%"}
# Title, how parts' names begin, what the table is about, columns.
TABLES: list[tuple[str, str, str, dict[str, Cell]]] = [
    (
        "What the card reaches",
        "peaks",
        "A bfloat16 matrix product, and a copy (bytes read and written).",
        {
            "TFLOP/s": number("tflops", ",.1f"),
            "TB/s": number("tbytes_per_s", ".2f"),
        },
    ),
    (
        "bfloat16 and gradient checkpointing",
        "precision",
        "Against float32 on the CPU, same weights and rollouts: mean |log-prob difference| a token "
        "(at most 0.02 nats), |gradient difference| / |gradient| (at most 0.05), and the same with "
        "checkpointing against without, on this device (at most 0.01).",
        {
            "log-probs, nats": number("logp_apart_nats", ".2g"),
            "gradient": number("gradient_apart", ".2g"),
            "recomputed": number("recomputed_apart", ".2g"),
            "within bounds": passed,
        },
    ),
    (
        "A stopped run that goes on",
        "resume",
        "Files that are not the same bytes: of two equal runs, and of a run and one that was "
        "stopped and resumed. Four steps of the demo; deterministic: with "
        "`torch.use_deterministic_algorithms(True, warn_only=True)`.",
        {
            "two equal runs": number("again"),
            "resumed": number("resumed"),
            "bit for bit": passed,
        },
    ),
    (
        "Sampling",
        "sample",
        "The last tokens of a full context in bfloat16, random weights, prompts taken off. Shares "
        "are of the card's peak by its data sheet, of the traffic and work that the model itself "
        "makes.",
        {
            "rows": number("rows"),
            "tokens/s": number("tokens_per_s"),
            "ms a step": number("step_ms", ".2f"),
            "of bandwidth": number("bandwidth_share", **PERCENT),
            "of FLOP/s": number("flops_share", **PERCENT),
            "prompt tokens/s": number("prompt_tokens_per_s"),
            "peak GB": number("peak_gb", ".1f"),
        },
    ),
    (
        "Learning",
        "learn",
        "One update over rows of the whole context, bfloat16 autocast over float32 weights, AdamW. "
        "The work counted is three forward passes; recomputing is not counted.",
        {
            "tokens a forward": number("micro_batch_tokens"),
            "tokens/s": number("tokens_per_s"),
            "of FLOP/s": number("flops_share", **PERCENT),
            "peak GB": number("peak_gb", ".1f"),
        },
    ),
    (
        "Our sampler beside `generate`",
        "generate",
        "Same weights in bfloat16, same prompts, lengths geometric with a mean of about 80 tokens, "
        "in turn; useful tokens only. Median, and range of the ratio.",
        {
            "tersely tokens/s": number("tokens_per_s"),
            "generate tokens/s": number("generate_tokens_per_s"),
            "ratio": number("ratio", ".1f"),
            "lowest": number("ratio_low", ".1f"),
            "highest": number("ratio_high", ".1f"),
            "repeats": number("repeats"),
        },
    ),
    (
        "RL steps",
        "rl",
        "Random weights, pulled to 16 tokens by the reward `l1_exact`, with checkpointing: "
        "sampling, grading and one update a step. Times leave the first step out; mismatch is the "
        "largest mean |learner − sampler| log-prob of a step.",
        {
            "model": lambda part: str(part.get("model", "–")),
            "steps": number("steps"),
            "rollouts a step": number("rollouts"),
            "median s a step": number("step_s", ".2f"),
            "sampled tokens/s": number("tokens_per_s"),
            "mean tokens, first step": number("tokens_first", ".1f"),
            "last step": number("tokens_last", ".1f"),
            "mismatch, nats": number("sampler_mismatch_nats", ".2g"),
            "peak GB": number("peak_gb", ".1f"),
        },
    ),
    (
        "The demo",
        "demo",
        "`tersely train` without a recipe, evaluated three times; 95% intervals over problems. A "
        "run that was stopped and went on has no time of its own.",
        {
            "run, s": number("run_s", ".0f"),
            "steps": number("steps"),
            "steps alone, s": number("steps_s", ".0f"),
            "mean tokens before": mean("tokens_before"),
            "after": mean("tokens_after"),
            "right within L_T before": mean("right_in_target_before", times=100, unit="%"),
            "after ": mean("right_in_target_after", times=100, unit="%"),
        },
    ),
]


def page(machine: Mapping[str, Any], found: Found) -> str:
    """All tables, and where they were measured."""
    form = "the reduced form, which only shows that the parts run" if machine["reduced"] else ""
    lines = [
        f"Measured on {machine['card']}, {machine['date']}, commit {machine['commit']}, "
        f"torch {machine['torch']}, transformers {machine['transformers']}"
        f"{'; ' + form if form else ''}. Command: `python bench/gpu.py --out runs/gpu"
        f"{' --reduced' * machine['reduced']}`.",
        "",
    ]
    for title, begins, about, columns in TABLES:
        names = [name for name in machine["parts"] if name.split(" ")[0] == begins]
        if names:
            lines += [f"## {title}", "", about, "", *_table(names, found, columns), ""]
    return "\n".join(lines)


def _table(names: Sequence[str], found: Found, columns: Mapping[str, Cell]) -> list[str]:
    head = ["part", *(name.strip() for name in columns), "took"]
    lines = [_row(head), _row(["---"] + ["---:"] * (len(head) - 1))]
    notes = []
    for name in names:
        part = found.get(name, {"status": "not begun"})
        took = number("seconds", ".1f", unit=" s")(part)
        lines.append(_row([name, *(cell(part) for cell in columns.values()), took]))
        if part["status"] != DONE:
            notes.append(f"- {name}: {part['status']}")
    return [*lines, *([""] if notes else []), *notes]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
