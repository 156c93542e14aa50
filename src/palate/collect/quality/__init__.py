"""The quality of a study's votes: progress, agreement, raters, systems."""
