"""What a person reads: the table, the files beside the results, the progress of a run."""
