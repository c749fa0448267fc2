"""Corpus to weights: every system and stage through one trainer."""
