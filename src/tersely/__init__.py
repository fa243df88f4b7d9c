"""Make reasoning models think shorter and stay right."""

__version__ = "0.1.0"
