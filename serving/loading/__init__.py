"""How a version comes into service: followed, proven, loaded."""
