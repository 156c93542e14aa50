"""The offline methods: which examples of the feedback each learns from, and by which loss.

Importing this package imports nothing heavy: `config` is what the command line reads.
"""
