"""The local learner: loss, optimizer, adapters, checkpoints."""
