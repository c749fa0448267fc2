"""Events in a face's motion, and their timing against published bands."""
