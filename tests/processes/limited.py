"""``limited.py BYTES WORD ...``: tersely, where no file can grow beyond so many bytes."""

import resource
import sys

from tersely.cli import app

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
app(sys.argv[2:])
