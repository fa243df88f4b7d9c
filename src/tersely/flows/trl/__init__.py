"""The same recipe on TRL and accelerate."""
