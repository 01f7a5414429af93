"""Floor 1: the words that every other floor uses; it imports none of them."""
