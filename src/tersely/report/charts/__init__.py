"""Figures: altair specifications of measured evaluations, runs and studies."""
