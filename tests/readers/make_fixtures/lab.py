"""Writes what the peers are run on: a folder of lab problems and the lab model.

    python tests/readers/make_fixtures/lab.py /tmp/lab

In this project's own environment. The thinking marks are special tokens, which the peers leave
out of the text that they grade and keep; the copy of the model here has them as ordinary ones.
It also samples by itself, which lighteval has no setting for.
"""

import json
import shutil
import sys
from pathlib import Path

import tersely.lab
from tersely.lab.problems import Split, draw_problems

MARKS = ("<think>", "</think>")


def write_problems(folder: Path, *, copies: int) -> None:
    problems = draw_problems(per_family=5, seed=5, split=Split.TEST, levels=(2, 3, 4, 5, 6))
    lines = [
        json.dumps({"id": p.id, "prompt": p.prompt, "answer": p.answer, "copy": copy})
        for copy in range(copies)
        for p in problems
    ]
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_model(folder: Path) -> None:
    shutil.copytree(Path(tersely.lab.__file__).parent / "checkpoint", folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    for token in tokenizer["added_tokens"]:
        token["special"] = token["special"] and token["content"] not in MARKS
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["extra_special_tokens"] = ["<user>", "<assistant>"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    generation |= {"do_sample": True, "temperature": 0.9}
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")


if __name__ == "__main__":
    root = Path(sys.argv[1])
    write_problems(root / "ten", copies=1)
    write_problems(root / "copies", copies=4)
    write_model(root / "model")
