"""``limited.py BYTES WORD ...``: tersely, where no file can grow beyond so many bytes."""

import os
import resource
import sys

from tersely.cli import app

# Bytecode would be cut off too, and met by every process after this one.
sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
app(sys.argv[2:])
