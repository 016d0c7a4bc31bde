"""Files of a run: how they are written, and what a checkpoint is."""
