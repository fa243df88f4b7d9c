"""What a step costs on which GPUs, by formulas and published figures: nothing is measured here."""
