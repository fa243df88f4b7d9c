"""Floor 1: what evaluation records say; pure functions of arrays."""
