"""Floor 1: what the loss is made of: advantages (numpy) and losses (torch)."""
