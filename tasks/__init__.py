"""Floor 6: one step of the loop per module, a pure function and its Prefect task."""
