"""Our figures on a peer's samples are the peer's own, to 1e-9.

The peers count a right answer also where the sample was cut before it ended by itself. Our hits
ask that it ended; so both are computed, and the peers' from the verdicts alone.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tersely.metrics.budgets import score_budgets
from tersely.metrics.passk import Tries, count_tries, mean_at_k, pass_at_k
from tersely.metrics.records import SampleTable, tabulate
from tersely.readers.archive import Archive
from tersely.readers.formats import Options, read

FIXTURES = Path(__file__).parent / "fixtures"
LIGHTEVAL, LM_EVAL = FIXTURES / "lighteval", FIXTURES / "lm_eval"
CLOSE = {"rel": 0, "abs": 1e-9}


def results(folder: Path) -> dict[str, dict[str, float]]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))["results"]


def peers_hits(table: SampleTable) -> Tries:
    """Right or not, whether or not it ended by itself; one budget."""
    hits_PS = np.where(table.graded_PS, table.correct_PS, np.nan)
    return count_tries(hits_PS[:, :, None].astype(np.float64))


def our_hits(table: SampleTable) -> Tries:
    scored = score_budgets(
        table.correct_PS,
        table.finished_PS,
        table.tokens_PS,
        table.graded_PS,
        budgets_B=np.array([table.cap_tokens]),
        cap_tokens=table.cap_tokens,
    )
    return count_tries(scored.hits_PSB)


def lighteval_table() -> SampleTable:
    options = Options(run="run", cap_tokens=96, columns={"grader": "exact"})
    return tabulate(read(LIGHTEVAL / "details_lab.parquet", "lighteval", options).records)


@pytest.mark.parametrize("hits", [peers_hits, our_hits])
def test_lighteval_mean_and_pass_at_k_are_ours(hits) -> None:  # type: ignore[no-untyped-def]
    tries, theirs = hits(lighteval_table()), results(LIGHTEVAL)["lab|0"]
    assert mean_at_k(tries, k=4).mean() == pytest.approx(theirs["avg@n:n=4"], **CLOSE)
    assert pass_at_k(tries, k=2).mean() == pytest.approx(theirs["pass@k:k=2&n=4"], **CLOSE)
    assert pass_at_k(tries, k=4).mean() == pytest.approx(theirs["pass@k:k=4&n=4"], **CLOSE)


def test_lighteval_accuracy_of_single_samples_is_ours() -> None:
    path = LIGHTEVAL / "details_lab_one.parquet"
    table = tabulate(read(path, "lighteval", Options(run="run", cap_tokens=96)).records)
    theirs = results(LIGHTEVAL)["lab_one|0"]["avg@n:n=1"]
    assert mean_at_k(peers_hits(table), k=1).mean() == pytest.approx(theirs, **CLOSE)


@pytest.mark.parametrize(
    ("task", "filter_name"),
    [("lab", "answer"), ("lab_filters", "answer"), ("lab_filters", "strict")],
)
def test_lm_eval_exact_match_is_our_mean(task: str, filter_name: str) -> None:
    (path,) = LM_EVAL.glob(f"samples_{task}_2*.jsonl")
    # The mean of verdicts does not look at the counts.
    options = Options(
        run="run", cap_tokens=96, count_tokens=lambda _: 1, columns={"filter": filter_name}
    )
    table = tabulate(read(path, "lm_eval", options).records)
    theirs = results(LM_EVAL)[task][f"exact_match,{filter_name}"]
    assert mean_at_k(peers_hits(table), k=4).mean() == pytest.approx(theirs, **CLOSE)


def test_inspect_accuracy_is_our_mean() -> None:
    # inspect prints 0.333 for 8 of 24; its exact figure stands in the log's header.
    path = FIXTURES / "inspect_ai" / "lab.eval"
    table = tabulate(read(path, "inspect_ai", Options(run="run")).records)
    with Archive(path, expected="a log") as archive:
        header = archive.load("header.json")
    theirs = header["results"]["scores"][0]["metrics"]["accuracy"]["value"]
    assert mean_at_k(peers_hits(table), k=3).mean() == pytest.approx(theirs, **CLOSE)
