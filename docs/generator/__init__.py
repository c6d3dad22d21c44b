"""The pages of the documents that are made: the reference from the code, the cookbook from the recipes."""
