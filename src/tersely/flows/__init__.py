"""Train and evaluate, each readable top to bottom."""
