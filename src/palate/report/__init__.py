"""The common part of the HTML reports: line charts, numbers, thumbnails, styles. A report is one file."""
