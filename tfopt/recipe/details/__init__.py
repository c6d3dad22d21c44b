"""The details of a stage's result: frozen types in, the JSON that `artifact.json` keeps of them out, and back."""
