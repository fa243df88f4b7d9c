"""What a step costs on which GPUs, from a roofline: nothing is loaded, nothing is measured."""
