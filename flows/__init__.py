"""Floor 7: the order of the steps, nothing else."""
