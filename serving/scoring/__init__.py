"""How a loaded version answers rows."""
