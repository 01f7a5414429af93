"""Rows on their way: read, stored in segments, and turned into one shape."""
