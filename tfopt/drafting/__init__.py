"""First recipes: a model and, if there are any, its samples in; a recipe that runs, and the script of its data, out."""
