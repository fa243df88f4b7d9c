import numpy as np
import pytest

from tersely.core import jsonl
from tersely.core.manifest import Manifest, write_manifest
from tersely.core.types import EvalRecord, Finish, Grade, Problem, StepRecord, StepTiming
from tersely.report.run import measure, read_run

CAP_TOKENS = 320
STEPS = 100
PROBLEMS = 36
SAMPLES = 4
EVIL = "<think></script><script>alert(1)</script><!-- &lt; {{ 7*7 }}"


def sample_eval(path, *, step, rng):
    """Lengths shrink from about 190 to 70 tokens and accuracy rises, by a made-up law."""
    progress = 1 - np.exp(-step / 40)
    for p in range(PROBLEMS):
        for s in range(SAMPLES):
            mean_tokens = (190 - 120 * progress) * (0.5 + p / PROBLEMS)
            wanted = max(3, int(rng.gamma(6.0, mean_tokens / 6.0)))
            tokens = min(wanted, CAP_TOKENS)
            right = rng.random() < 0.88 - 0.35 * (p / PROBLEMS) + 0.05 * progress
            cut = wanted > CAP_TOKENS
            pieces = (EVIL, *(f"{i % 10}" for i in range(1, tokens - 1)), "<eos>")
            jsonl.append(
                path,
                EvalRecord(
                    run="synthetic",
                    benchmark="lab",
                    problem=f"p{p:03}",
                    sample=s,
                    grade=Grade.UNGRADED
                    if (p, s) == (3, 1)
                    else Grade.CORRECT
                    if right and not cut
                    else Grade.WRONG,
                    tokens=tokens,
                    finish=Finish.LENGTH if cut else Finish.STOP,
                    cap_tokens=CAP_TOKENS,
                    seed=11,
                    prompt=f"{EVIL} what is {p} + {p} ?",
                    text=None,
                    pieces=pieces if s == 0 else None,
                ),
            )


def step_record(step, rng):
    noise = rng.standard_normal(4)
    tokens = 70 + 125 * np.exp(-step / 30) + 5 * noise[0]
    accuracy = float(np.clip(0.70 + 0.08 * (1 - np.exp(-step / 60)) + 0.02 * noise[1], 0, 1))
    entropy = 0.5 - 0.12 * (1 - np.exp(-step / 25)) + 0.0008 * step + 0.01 * noise[2]
    truncated = float(max(0.0, 0.14 * np.exp(-step / 25) + 0.005 * noise[3]))
    return StepRecord(
        step=step,
        prompts=16,
        rollouts=128,
        target_tokens=100.0,
        cap_tokens=CAP_TOKENS,
        accuracy=accuracy,
        reward_mean=accuracy * 0.9,
        positive_share=float(accuracy * (1 - 0.5 * np.exp(-step / 30))),
        zero_signal_share=float(0.3 + 0.001 * step),
        truncated_share=truncated,
        unparsed_share=0.01,
        ungraded_share=0.0,
        tokens_mean=tokens,
        correct_tokens_mean=tokens * 0.9,
        wrong_tokens_mean=float("nan") if step % 37 == 5 else tokens * 1.35,
        positive_tokens_mean=tokens * 0.8,
        negative_tokens_mean=tokens * 1.3,
        entropy_mean=float(entropy),
        kl_mean=float("nan"),
        sampler_mismatch=1e-6,
        clip_share=0.01,
        grad_norm=float(0.4 + 0.2 * abs(noise[2])),
        loss=0.01,
        learning_rate=1e-4,
        sampled_tokens=int(128 * tokens),
        update_tokens=int(120 * tokens),
    )


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "synthetic"
    (folder / "eval").mkdir(parents=True)
    rng = np.random.default_rng(4)
    for step in (0, 50, STEPS):
        sample_eval(folder / "eval" / f"step-{step:06}.jsonl", step=step, rng=rng)
    for step in range(STEPS):
        jsonl.append(folder / "steps.jsonl", step_record(step, rng))
        timing = StepTiming(step=step, sample_s=1.5, grade_s=0.1, learn_s=0.9, other_s=0.05)
        jsonl.append(folder / "timings.jsonl", timing)
    for p in range(PROBLEMS):
        jsonl.append(
            folder / "problems.jsonl",
            Problem(
                id=f"p{p:03}",
                prompt=f"{EVIL} what is {p} + {p} ?",
                answer=str(2 * p),
                source=("chain", "clock", "ledger")[p % 3],
            ),
        )
    facts = {
        "command": f"tersely train lab-truncation --out {EVIL}",
        "started": "2026-11-20T10:00:00+00:00",
        "seed": "11",
        "numpy": np.__version__,
    }
    write_manifest(folder, Manifest(identity={"model digest": "0123"}, facts=facts))
    (folder / "recipe.toml").write_text(
        '[model]\nname = "lab"\n\n[reward]\nname = "truncation"\ntarget_tokens = 100\n\n'
        "[evaluation]\nbudgets = [20, 40, 80, 160, 320]\n"
    )
    return folder


@pytest.fixture(scope="session")
def run(run_folder):
    return read_run(run_folder)


@pytest.fixture(scope="session")
def measured(run):
    return measure(run)
