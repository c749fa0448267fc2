"""Presentation of results: HTML pages, plots, Markdown."""
