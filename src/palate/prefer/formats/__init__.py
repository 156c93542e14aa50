"""Other people's formats: the names that both the reader and the writer of each use."""
