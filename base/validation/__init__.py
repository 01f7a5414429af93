"""What rows must be: a contract's rules as SQL, what they find, and the rows that are set aside."""
