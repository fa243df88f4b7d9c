"""A recipe: TOML in, checked settings out, and what it does to a batch."""
