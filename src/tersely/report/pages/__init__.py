"""Whole pages and files: HTML, Markdown, CSV, PNG."""
