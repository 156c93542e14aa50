"""The records on disk: images, ranked sets, graded images, and JSON-lines files that grow while a stage runs."""
