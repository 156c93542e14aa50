"""Evaluation: two models draw the same prompts from the same seeds, and independent judges measure the difference."""
