"""A model of the lab's shape with heads of 32, which vLLM's attention on a CPU takes."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tersely.engines.models import lab_folder, load_tokenizer


def save_wide_lab(folder: Path, *, seed: int = 0) -> Path:
    """Saves one with weights at random, and the lab's tokenizer; the folder."""
    config = AutoConfig.from_pretrained(lab_folder())
    config.head_dim = 32
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    load_tokenizer("lab").save_pretrained(folder)
    return folder
