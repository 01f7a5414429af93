"""Floor 3: what the loop remembers: pipelines, runs, steps, versions, aliases and decisions."""
