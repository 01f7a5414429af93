"""Alarms: what a window shows that chance, the season and the calendar do not, within a budget of false ones."""
