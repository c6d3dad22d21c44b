"""One-shot pruning: a trained model and samples in; the model pruned, and compensated without any training, out."""
