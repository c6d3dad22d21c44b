"""The search for the best file under a budget: what may be tried, what it will cost, who tries it, what came of it."""
