"""A study in the browser: the raters' page, the owner's page, and what both ask for over HTTP."""
