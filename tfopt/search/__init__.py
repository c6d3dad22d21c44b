"""A model and limits in, the Pareto front of files out: search space, cost model, sampler, trials and workers."""
