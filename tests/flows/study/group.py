"""``group.py fork|spawn WORD ...``: tersely as the leader of a group of processes. A study's own
are started as tersely does, or forked from it, which takes no seconds to load torch; forked ones do
not notice that it was killed."""

import multiprocessing
import os
import sys

from tersely.cli import app

if __name__ == "__main__":
    os.setpgid(0, 0)
    context = multiprocessing.get_context(sys.argv[1])
    multiprocessing.get_context = lambda _: context
    app(sys.argv[2:])
