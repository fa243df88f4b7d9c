"""One thread for every test: a second one only waits when tests share a machine."""

import torch

torch.set_num_threads(1)
