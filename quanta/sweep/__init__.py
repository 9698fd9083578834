"""Who trains which unit, and where."""
