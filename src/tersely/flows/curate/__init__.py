"""``tersely curate``: which prompts to train on."""
