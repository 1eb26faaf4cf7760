"""Judges pictures: feature extractors and cached reference features, fidelity, diversity, memorisation, the verdict."""
