"""The training engine: from corpora to weights, for the stages that any system declares. It names no system."""
