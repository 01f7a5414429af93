"""Batch prediction: rows of files of any size, in parts that a crash does not lose."""
