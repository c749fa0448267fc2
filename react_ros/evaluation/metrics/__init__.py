"""Metrics of facial reactions, on plain arrays."""
