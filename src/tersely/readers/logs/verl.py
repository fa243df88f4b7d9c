"""verl's metrics: those of its file logger, or as its console prints them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.readers.logged import LoggedRun, entry, json_lines, read_text

# How far sampler and learner differ, in nats a token, the best first: k3 is of each token and never
# negative; in the others signs cancel, so that they may be small where the two differ. 0.6 called
# it mismatch. training/rollout_probs_diff is of probabilities, not in nats.
_MISMATCH = {
    f"{prefix}{name}": said
    for name, said in {
        "k3_kl": "the divergence of the learner from the sampler (k3)",
        "log_ppl_abs_diff": "the mean over rollouts of |difference of mean log-probability|",
        "kl": "the mean difference of log-probability, in which signs cancel",
        "log_ppl_diff": "the mean difference of log-perplexity, in which signs cancel",
    }.items()
    for prefix in ("rollout_corr/", "mismatch/mismatch_")
}
# Of verl 0.1 to 0.9.1. Up to 0.4, ``actor/entropy_loss`` is the mean entropy.
NAMES = {
    "response_length/mean": "tokens_mean",
    "response_length/clip_ratio": "truncated_share",
    "actor/entropy": "entropy_mean",
    "actor/entropy_loss": "entropy_mean",
    "actor/kl_loss": "kl_mean",
    "actor/reward_kl_penalty": "kl_mean",
    "critic/kl": "kl_mean",
    "actor/ppo_kl": "kl_mean",
    "critic/score/mean": "reward_mean",
    "critic/rewards/mean": "reward_mean",
    **dict.fromkeys(_MISMATCH, "sampler_mismatch"),
    "actor/grad_norm": "grad_norm",
    "actor/pg_clipfrac": "clip_share",
    "actor/pg_loss": "loss",
    "actor/lr": "learning_rate",
}
HELD_OUT = re.compile(r"val-core/.+/(acc|reward)/mean@\d+|val/test_score/.+")
CAUTIONS = {
    "response_length/clip_ratio": (
        "verl's response_length/clip_ratio is read as the share of cut rollouts, and is wrong in "
        "versions up to 0.9: the v1 trainer compares with the longest rollout of the batch, so it "
        "is never 0 (verl issue 7817), and rollouts that max_model_len cuts are not counted (7823)."
    ),
    "actor/ppo_kl": (
        "kl_mean is read from actor/ppo_kl, the divergence from the policy that sampled: the log "
        "has none from a reference."
    ),
    **{
        name: f"sampler_mismatch is read from {name}: {said}, in nats a token."
        for name, said in _MISMATCH.items()
    },
}
_GIVE = "give its metrics or console output"
_CONSOLE = re.compile(r"\bstep:(\d+) - (.*)")
# Older versions print three decimals: of a learning rate that says nothing.
_ROUNDED = re.compile(r"0\.0{2,4}")


def looks_like(path: Path) -> bool:
    """Lines ``{"step": n, "data": {...}}``, or ``step:n - name:value``."""
    if not path.is_file():
        return False
    text = read_text(path, give=_GIVE)
    if re.match(r'\s*\{"step": *\d+, *"data": *\{', text):
        return True
    # Most logs hold no such word, and are long.
    lines = _CONSOLE.finditer(text) if "step:" in text else ()
    return any(" - " in found[2] or ":" in found[2] for found in lines)


def verl(path: Path) -> list[LoggedRun]:
    """File logger: ``{"step": n, "data": {...}}`` a line; console: ``step:n - name:value``."""
    rows: list[Mapping[str, Any]] = []
    text = read_text(path, give=_GIVE)
    for number, (line, found) in enumerate(json_lines(path, text), start=1):
        if found is not None:
            data = entry(found.get("data", {}), place=f"{path}:{number}: data")
            rows.append({"step": found.get("step"), **data})
        elif match := _CONSOLE.search(line):
            pairs = (part.rpartition(":") for part in match[2].split(" - "))
            row = {name.strip(): value.strip() for name, _, value in pairs}
            if _ROUNDED.fullmatch(row.get("actor/lr", "")):
                del row["actor/lr"]
            rows.append({"step": match[1], **row})
    head = text.partition("\n")[0]
    if not rows and re.search(r"[,;\t]", head) and "step" in head.lower():
        raise DataError(f"{path} is CSV, no log of verl's; read it with --from csv")
    return [LoggedRun(path.name, rows)]
