"""The languages of snippets, one a file."""
