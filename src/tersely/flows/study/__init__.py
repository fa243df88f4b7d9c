"""``tersely study``: claims that are written down, the runs that test them, and what came out."""
