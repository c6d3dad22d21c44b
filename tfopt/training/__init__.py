"""Model and data in, trained model out: the only `compile()` and `fit()`, on one device or many."""
