"""From a study's votes to what others read, one file a format; what has no place in a format is counted."""
