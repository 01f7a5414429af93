"""Watches: what asks for a training by itself, or tells that something stays away."""
