"""A lighteval task on lab problems: four samples of each, avg@n and pass@k.

lighteval 0.13.0, transformers 5.23.0, xxhash 3.5.0 (4.1 fails), torch 2.13.0, no
network; model: this project's src/tersely/lab/checkpoint.

    python tests/readers/make_fixtures/lab.py /tmp/lab
    cd /tmp/lab && HF_HUB_OFFLINE=1 python .../make_fixtures/for_lighteval.py accelerate \\
        "model_name=model,batch_size=5,dtype=float32,generation_parameters={temperature:0.9}" \\
        "lab,lab_one" --custom-tasks .../make_fixtures/for_lighteval.py --save-details \\
        --output-dir out

Both ``details_*.parquet`` are kept as they are, and of ``results_*.json`` the entry ``results``.
Run as a script it is lighteval's command line with two look-ups on the network answered: a
judge model's name, and a data file of a benchmark that is not run.
"""

import sys
from pathlib import Path

import numpy as np
from huggingface_hub import HfApi
from lighteval.metrics.metrics_sample import AvgAtN, PassAtK
from lighteval.metrics.utils.metric_utils import SampleLevelMetric
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc, SamplingMethod


def score(doc, model_response):
    """1 if what follows the thinking is the gold answer."""
    return int(model_response.text[0].rpartition("</think>")[2].strip() == doc.choices[0])


def metric(name, function):
    return SampleLevelMetric(
        metric_name=name,
        sample_level_fn=function,
        category=SamplingMethod.GENERATIVE,
        corpus_level_fn=np.mean,
        higher_is_better=True,
    )


def prompt(line, task_name=None):
    return Doc(
        task_name=task_name,
        query=line["prompt"],
        choices=[line["answer"]],
        gold_index=0,
        specific={"lab_id": line["id"]},
    )


def task(name, metrics):
    return LightevalTaskConfig(
        name=name,
        prompt_function=prompt,
        hf_repo="ten",
        hf_subset="default",
        hf_avail_splits=["test"],
        evaluation_splits=["test"],
        generation_size=96,
        stop_sequence=[],
        metrics=metrics,
        version=1,
    )


TASKS_TABLE = [
    task(
        "lab",
        [
            metric("avg@n:n=4", AvgAtN(n=4, sample_scoring_function=score)),
            metric("pass@k:k=2&n=4", PassAtK(k=2, n=4, sample_scoring_function=score)),
            metric("pass@k:k=4&n=4", PassAtK(k=4, n=4, sample_scoring_function=score)),
        ],
    ),
    task("lab_one", [metric("avg@n:n=1", AvgAtN(n=1, sample_scoring_function=score))]),
]

if __name__ == "__main__":
    import lighteval

    HfApi.list_models = lambda self, **_: ["any"]
    tasks = Path(lighteval.__file__).parent / "tasks" / "tasks"
    (tasks / "tinyBenchmarks.pkl").touch()
    from lighteval.__main__ import app

    sys.exit(app())
