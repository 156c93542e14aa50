"""How good a study's votes are: progress, agreement, raters, systems."""
