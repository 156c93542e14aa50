"""Writers of a study's votes, one file for each format; data that a format cannot represent is counted."""
