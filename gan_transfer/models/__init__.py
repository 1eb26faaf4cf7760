"""The networks: what they are, how they are averaged, stored and multiplied."""
