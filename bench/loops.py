"""How often the rule of ``looping share`` fires on samples that were cut, and on those that ended.

Files are those of Qwen2.5-Math's evaluator (``question``, ``gt`` and lists ``code``, ``score``), or
compressed ones. What is flagged is printed with the length of its passage, to be read.

    python bench/loops.py FILES --tokenizer FOLDER --cap-tokens 32000
"""

import argparse
from pathlib import Path
from time import perf_counter

from tersely.core.types import EvalRecord, Finish
from tersely.engines.tokens import make_counter
from tersely.metrics.loops import loops
from tersely.readers.formats import Options, read

COLUMNS = {
    "problem": "idx",
    "prompt": "question",
    "gold": "gt",
    "text": "code",
    "correct": "score",
    "extracted": "pred",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--cap-tokens", type=int, required=True)
    asked = parser.parse_args()
    options = Options(
        run="loops",
        count_tokens=make_counter(asked.tokenizer),
        cap_tokens=asked.cap_tokens,
        columns=COLUMNS,
    )
    records: list[EvalRecord] = []
    for file in asked.files:
        records += read(file, "table", options).records
    for finish in (Finish.LENGTH, Finish.STOP):
        found = [record for record in records if record.finish is finish]
        looped = sum(bool(record.loops) for record in found)
        print(f"{finish}: {looped} of {len(found)} end in a loop")
    began = perf_counter()
    for record in records:
        loops(record.text or "")
    each_ms = 1000 * (perf_counter() - began) / len(records)
    characters = sum(len(record.text or "") for record in records) / len(records)
    print(f"{each_ms:.2f} ms a text of {characters:,.0f} characters on average")


if __name__ == "__main__":
    main()
