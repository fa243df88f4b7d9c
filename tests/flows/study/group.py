"""``group.py KIND WORD ...``: tersely as the leader of a group of processes.

Its workers are started as KIND says: ``spawn`` is what tersely does, and loads torch in each;
``fork`` gives them what this process has loaded.
"""

import multiprocessing
import os
import sys
from types import SimpleNamespace

from tersely.cli import app
from tersely.flows.study import schedule

if __name__ == "__main__":
    os.setpgid(0, 0)
    kind = multiprocessing.get_context(sys.argv[1])
    schedule.multiprocessing = SimpleNamespace(get_context=lambda _: kind)
    app(sys.argv[2:])
