"""People compare images in a browser, and no vote is lost."""
