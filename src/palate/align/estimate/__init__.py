"""Memory and time of a run before it starts, and settings for a graphics card of a given memory."""
