"""Hooks: other systems ask for a training over HTTP, signed, and are told what the arbiter says."""
