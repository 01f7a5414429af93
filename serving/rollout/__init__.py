"""Let a new version in step by step, with a way back."""
