"""The prediction log: what was answered, and what came true."""
