"""A study in the browser: the raters' page, the owner's page, and their HTTP interface."""
