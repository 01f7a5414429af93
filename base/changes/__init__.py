"""What changed in data's shape: columns, units, categories, nulls; each named for what it is."""
