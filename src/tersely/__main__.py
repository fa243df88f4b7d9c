"""``python -m tersely``."""

from tersely.cli import app

app()
