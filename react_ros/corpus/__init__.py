"""Clips on disk: the REACT layouts, simulated dyads, appropriateness."""
