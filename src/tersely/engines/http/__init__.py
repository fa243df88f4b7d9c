"""Sampling through servers that speak OpenAI's chat completions."""
