"""``group.py WORD ...``: tersely as the leader of a group of processes."""

import os
import sys

from tersely.cli import app

if __name__ == "__main__":
    os.setpgid(0, 0)
    app(sys.argv[1:])
