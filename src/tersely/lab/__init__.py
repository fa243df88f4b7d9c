"""The lab: a small world on a CPU in which everything the paper describes can happen."""
