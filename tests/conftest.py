"""One thread for every test: a second one only waits when tests share a machine. And the command
line's own environment, which transformers reads when it is imported, whichever test does it."""

import functools
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer import testing

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "processes"))
import typechecks  # noqa: E402

typechecks.install()
torch.set_num_threads(1)
# Commands that a test gives in this process are put together once; each would take as long as many
# a test.
testing._get_command = functools.cache(testing._get_command)
# No test cuts the power, and each would wait for the disk many times over.
os.fsync = lambda _: None
# Tables are of a fixed width where nothing says otherwise; a pytest of several processes does.
os.environ.pop("COLUMNS", None)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


# The files that take longest, longest first: one that was begun last would run on alone.
LONG = [
    "flows/train/test_everything_trains.py",
    "flows/study/test_run.py",
    "flows/train/test_resume.py",
    "flows/train/test_going_on.py",
    "cli/test_hostile.py",
    "tasks/sandbox/test_hostile.py",
    "test_surface.py",
    "test_docs.py",
    "metrics/test_coverage.py",
    "tasks/grading/test_math_forms.py",
    "cli/test_sweep.py",
    "flows/study/test_smollm2.py",
    "flows/study/test_offline.py",
    "metrics/test_chance.py",
    "engines/http/test_serve.py",
    "dynamics/test_alarms.py",
    "cli/test_evaluations.py",
    "flows/evaluate/test_failed_samples.py",
    "engines/http/test_sampler.py",
    "cli/test_before.py",
    "bench/test_gpu.py",
    "cli/test_advise.py",
    "dynamics/test_made_runs.py",
    "cli/test_train.py",
    "cli/test_files_of_others.py",
    "cli/test_habits.py",
    "cli/test_models_of_others.py",
    "flows/evaluate/test_folder_faults.py",
    "engines/http/test_several_servers.py",
    "dynamics/test_long_logs.py",
    "dynamics/test_evidence.py",
    "flows/evaluate/test_evaluation.py",
    "cli/test_compare.py",
    "flows/test_diagnose.py",
    "engines/learning/test_lora_merge.py",
    "flows/evaluate/test_open_thinking.py",
    "flows/test_published.py",
    "cli/test_width.py",
    "flows/lint/test_lint.py",
    "flows/train/test_tracked.py",
    "report/pages/test_card.py",
    "tasks/grading/test_workers.py",
    "cli/test_named_graders.py",
    "algo/test_advantages.py",
    "cli/test_curate.py",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is loaded stays: no search for garbage goes through it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {HERE / name: number for number, name in enumerate(LONG)}
    assert all(file.is_file() for file in place), "LONG names a file that is not there"
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


def pytest_runtest_setup() -> None:
    typechecks.begin_test()


@pytest.fixture(scope="session")
def wide_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the first lab's shape with heads of 32, which vLLM's attention on a CPU takes;
    weights at random."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from tersely.engines.models import lab_folder, load_tokenizer

    config = AutoConfig.from_pretrained(lab_folder("lab-v1"))
    config.head_dim = 32
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wide")
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    load_tokenizer("lab-v1").save_pretrained(folder)
    return folder
