"""Sampling in this process, on our decoder or any Hugging Face model."""
