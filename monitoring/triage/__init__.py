"""Triage: whether an alarm is broken data, a changed world, or nothing that matters."""
