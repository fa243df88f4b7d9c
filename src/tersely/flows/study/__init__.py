"""``tersely study``: claims written down in advance, the runs that test them, and verdicts."""
