"""Corpora: clips of dyads on disk, in the REACT layouts, recorded or simulated; dynamic time warping between them."""
