"""Floor 0: the records everything passes round. It imports no other floor."""
