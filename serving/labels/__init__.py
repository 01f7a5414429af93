"""Labels: what came true for earlier predictions, kept as versions and joined once they are due."""
