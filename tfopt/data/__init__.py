"""A source in, the splits of a recipe's data out."""
