"""One file a stage: its settings, and the calls into the workshop; artifacts in, an artifact out."""
