"""Training: the loop, batches, checkpoints and the run folder."""
