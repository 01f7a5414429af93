"""The bodies that are understood, one system each: what it says, as a wish for a training."""
