"""What happened, told to whoever wants to know: happenings, how far each sink has read, and its outbox."""
