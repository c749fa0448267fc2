"""The systems of this package: one folder for each paper or rule."""
