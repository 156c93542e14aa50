"""Words for images: a caption each, for instance to generate from again."""
