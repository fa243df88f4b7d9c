"""``python -m tersely``."""

from tersely.cli import main

main()
