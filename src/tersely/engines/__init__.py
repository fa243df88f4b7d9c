"""Floor 3: the engines we drive: samplers and the local learner, and their checkpoints."""
