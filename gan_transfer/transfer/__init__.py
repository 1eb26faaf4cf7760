"""Beginning with another pair: warm start and freezing."""
