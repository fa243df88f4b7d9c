"""Floor 1: what a step log says; pure functions of its arrays."""
