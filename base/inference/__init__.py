"""A first contract, inferred from good rows and written down as people read it."""
