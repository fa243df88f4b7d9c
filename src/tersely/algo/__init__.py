"""Floor 1: what the loss is made of: masks and advantages (numpy), losses (torch)."""
