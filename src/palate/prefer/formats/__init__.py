"""Published formats: the names that the reader and the writer of each format share."""
