"""The parts that all other packages use: errors, configuration, keyed randomness, run folders, progress."""
