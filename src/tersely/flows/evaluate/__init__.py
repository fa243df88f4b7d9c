"""``tersely eval``, ``report`` and ``compare``: sampled once, kept sample by sample, measured."""
