"""The gate: paired comparisons, checks, and the verdict that they give; no file is read and nothing is written."""
