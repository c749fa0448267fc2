"""Every system that listens, one folder each: a paper, or a rule."""
