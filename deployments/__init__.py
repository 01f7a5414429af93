"""Floor 8: starts, schedules, triggers and supervises what the floors below do."""
