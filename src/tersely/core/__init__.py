"""Floor 0: the records everything passes round. numpy and the standard library only."""
