"""The registry of roundings, one per file: from the weights of one op to the integers that stand for them."""
