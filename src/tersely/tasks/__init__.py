"""Problems, prompts and grading, shared by training and evaluation."""
