"""Commands where libraries are not installed, each in a fork of one interpreter that has loaded the
command line where none of them is. Reads ``[libraries, words, folder]`` a line, and answers each
with the exit code; what the command says is in the folder's ``stdout`` and ``stderr``."""

import json
import os
import sys
from importlib.machinery import PathFinder

ANY = {"torch", "transformers", "tokenizers", "safetensors", "peft", "trl", "verl", "vllm"}
absent = {*ANY, "reasoning_gym", "math_verify", "latex2sympy2_extended", "langdetect"}
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *more: None if name in absent else find(name, *more)

from tersely.cli import app  # noqa: E402

for line in sys.stdin:
    libraries, words, folder = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY), number)
        absent.clear()
        absent.update(libraries)
        sys.argv[1:] = words
        app()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
