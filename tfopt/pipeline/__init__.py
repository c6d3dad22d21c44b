"""Recipe in, committed artifacts out: the run, its plan, and the processes that share it."""
