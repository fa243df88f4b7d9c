import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from tersely.core import jsonl
from tersely.core.manifest import Facts, ModelFiles, RunManifest, write_manifest
from tersely.core.types import EvalRecord, Finish, Grade, Problem, StepRecord, StepTiming
from tersely.metrics.budgets import Protocol
from tersely.metrics.changes import list_changes
from tersely.metrics.comparison import compare, pair
from tersely.metrics.measures import measure as measure_table
from tersely.metrics.records import tabulate
from tersely.readers.evaluations import Loaded
from tersely.report.pages.run import measure, read_run

CAP_TOKENS = 320
STEPS = 100
PROBLEMS = 36
SAMPLES = 4
EVIL = "<think></script><script>alert(1)</script><!-- &lt; {{ 7*7 }}"
GRADES = {
    "c": (Grade.CORRECT, Finish.STOP),
    "w": (Grade.WRONG, Finish.STOP),
    "t": (Grade.UNPARSED, Finish.LENGTH),
    "u": (Grade.UNGRADED, Finish.STOP),
}
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


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
    facts = Facts(
        command=f"tersely train lab-truncation --out {EVIL}",
        started="2026-11-20T10:00:00+00:00",
        seed=11,
        packages={"numpy": np.__version__},
    )
    made_of = RunManifest(
        files=ModelFiles(model_digest="0123"),
        training_problems_digest="45",
        test_problems_digest="67",
        facts=facts,
    )
    write_manifest(folder, made_of)
    (folder / "recipe.toml").write_text(
        "[sampling]\nprompts_per_step = 2\nsamples_per_prompt = 4\ncap_tokens = 320\n\n"
        '[reward]\nname = "truncation"\n\n[target]\nname = "fixed"\ntokens = 100\n\n'
        "[learner]\nsteps = 100\nlearning_rate = 1e-3\n\n"
        "[evaluation]\nevery_steps = 50\nsamples = 4\nbudgets = [20, 40, 80, 160, 320]\n"
    )
    return folder


@pytest.fixture(scope="session")
def run(run_folder):
    return read_run(run_folder)


@pytest.fixture(scope="session")
def measured(run):
    return measure(run)


@pytest.fixture(scope="session")
def make_loaded():
    """An evaluation from words such as ``{"p0": "c8 w20"}``: grade and tokens of each sample."""

    def make(name, problems, *, cap, budgets, text="some text", notes=(), kept=2):
        records = [
            EvalRecord(
                run=name,
                benchmark="bench",
                problem=problem,
                sample=place,
                grade=GRADES[word[0]][0],
                tokens=int(word[1:]),
                finish=GRADES[word[0]][1],
                cap_tokens=cap,
                seed=1,
                prompt=f"{text} {problem}?",
                text=f"{text} {name} {problem}/{place}" if place < kept else None,
            )
            for problem, words in problems.items()
            for place, word in enumerate(words.split())
        ]
        return Loaded(
            name=name,
            table=tabulate(records),
            protocol=Protocol.FINISHED,
            budgets=tuple(budgets),
            notes=tuple(notes),
            facts={"model": name},
            traces=tuple(r for r in records if r.text is not None),
        )

    return make


@pytest.fixture(scope="session")
def measure_loaded():
    def measure_one(loaded, *, ks):
        return measure_table(
            loaded.table,
            title=loaded.name,
            budgets=loaded.budgets,
            ks=ks,
            rng=np.random.default_rng(0),
            resamples=200,
        )

    return measure_one


@pytest.fixture(scope="session")
def compare_loaded():
    def compare_two(before, after, *, ks):
        paired = pair(before.table, after.table)
        comparison = compare(
            "both",
            paired.before,
            paired.after,
            budgets=before.budgets,
            ks=ks,
            rng=np.random.default_rng(0),
            resamples=200,
        )
        changes = list_changes(
            paired.before,
            paired.after,
            budget_tokens=before.budgets[-1],
            protocol=Protocol.FINISHED,
        )
        return comparison._replace(notes=paired.notes), changes

    return compare_two


class Loads(HTMLParser):
    """Collects what a page would load or link to, its tags and its executable scripts."""

    def __init__(self):
        super().__init__()
        self.targets, self.scripts, self.tags = [], 0, []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        loading = ("src", "href", "srcset", "data", "action", "poster", "xlink:href")
        self.targets += [value for name, value in attrs if name in loading]
        self.scripts += tag == "script" and "application/json" not in dict(attrs).values()


@pytest.fixture(scope="session")
def assert_closed():
    """That a page loads nothing from anywhere and runs its own two scripts only."""

    def check(path):
        text = path.read_text(encoding="utf-8")
        page = Loads()
        page.feed(text)
        assert all(target.startswith("#") for target in page.targets)
        assert not {"link", "iframe", "img", "object", "embed", "base"} & set(page.tags)
        assert page.scripts == 2
        assert "default-src 'none'" in text
        style = text[text.index("<style>") : text.index("</style>")]
        assert "url(" not in style
        assert "@import" not in style

    return check


@pytest.fixture
def browse(tmp_path):
    """The page's elements after a script was added to it and run in a browser."""
    if BROWSER is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")

    def drive(path, script, *, widths=()):
        page = tmp_path / "driven.html"
        added = (
            '<script>window.addEventListener("load", () => setTimeout(() => {'
            f"{script}}}, 0));</script>"
        )
        page.write_text(path.read_text(encoding="utf-8") + added, encoding="utf-8")
        if widths:
            # A frame may be narrower than a window; what the script says comes to its title.
            page = tmp_path / "frame.html"
            page.write_text(
                "<script>addEventListener('message', (e) => document.title += e.data + ' |')"
                "</script>"
                + "".join(
                    f'<iframe src="driven.html" style="width:{px}px;height:3000px"></iframe>'
                    for px in widths
                )
            )
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync "
            f"--virtual-time-budget=10000 --user-data-dir={tmp_path / 'profile'} --dump-dom"
        ).split()
        return subprocess.run(
            [BROWSER, *flags, page.as_uri()], capture_output=True, text=True, timeout=60, check=True
        ).stdout

    return drive
