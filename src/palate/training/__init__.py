"""The common part of all trainers: the step loop, caches, checkpoints, optimisers, metrics and the device."""
