"""The registry of report sections, one per file."""
