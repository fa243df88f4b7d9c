"""``tersely train``: the loop, its step, its run folder."""
