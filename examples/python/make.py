"""Makes the files of docs/python.md and of the notebook from a run of the lab's first model.

    .venv/bin/tersely train bench/lab-v1.toml --out runs/lab-v1
    .venv/bin/python examples/python/make.py runs/lab-v1

The samples become tables without texts, as any tool may write them, and the steps CSV.
"""

import sys
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
COLUMNS = ("benchmark", "problem", "sample", "tokens", "finish", "cap_tokens", "extracted")
LEFT_OUT = ("schema", "kl_mean", "sampler_mismatch", "dropped_groups", "refill_rounds")


def main(run: Path) -> None:
    evaluations = sorted((run / "eval").glob("step-*.jsonl"))
    for name, file in (("base", evaluations[0]), ("terse", evaluations[-1])):
        records = pl.read_ndjson(file, infer_schema_length=None)
        correct = (pl.col("grade") == "correct").alias("correct")
        records.select(*COLUMNS, correct).write_parquet(HERE / f"{name}.parquet")
    steps = pl.read_ndjson(run / "steps.jsonl", infer_schema_length=None).drop(LEFT_OUT)
    steps.with_columns(pl.selectors.float().round(4)).write_csv(HERE / "steps.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
