"""Until the next version, the old name of ``tersely.flows.trl.worker``."""

import sys

from tersely.core.errors import say_moved
from tersely.flows.trl.worker import main

__all__ = ["main"]

say_moved("tersely.flows.launch_worker", "tersely.flows.trl.worker")

if __name__ == "__main__":
    sys.exit(main())
