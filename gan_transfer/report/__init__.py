"""What a run shows of itself: the live view and the curves."""
