"""The forward diffusion process, and the conversions between the network's possible predictions."""
