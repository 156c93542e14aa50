"""Best-of-N: chooses one of several generated images by a scorer."""
