"""Tables, cells and sentences, for terminals and pages alike."""
