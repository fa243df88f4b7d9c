"""One thread for every test: a second one only waits when tests share a machine. And the command
line's own environment, which transformers reads when it is imported, whichever test does it."""

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).with_name("processes")))
torch.set_num_threads(1)
# Tables are of a fixed width where nothing says otherwise; a pytest of several processes does.
os.environ.pop("COLUMNS", None)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@pytest.fixture(scope="session")
def wide_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the lab's shape with heads of 32, which vLLM's attention on a CPU takes; weights
    at random."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from tersely.engines.models import lab_folder, load_tokenizer

    config = AutoConfig.from_pretrained(lab_folder())
    config.head_dim = 32
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wide")
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    load_tokenizer("lab").save_pretrained(folder)
    return folder
