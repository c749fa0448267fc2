"""Reactions to numbers, tables, plots, a report."""
