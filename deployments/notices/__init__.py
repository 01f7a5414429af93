"""Happenings are sent: to Prefect as events, and to people by Apprise."""
