"""What every trainer stands on: caches, checkpoints, optimisers, measurements, the device."""
