"""Real pictures: sources, the pack they are decoded into once, and the loader that trains from it."""
