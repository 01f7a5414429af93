"""Floor 5: is what we serve still true, and does it call for training?"""
