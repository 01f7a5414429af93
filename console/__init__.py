"""Floor 8: look and act, from the command line."""
