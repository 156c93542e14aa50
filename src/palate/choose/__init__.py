"""Which of several pictures is kept."""
