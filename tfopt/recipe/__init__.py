"""YAML in, frozen settings out: what a user writes, what a stage is, and what a result on disk looks like."""
