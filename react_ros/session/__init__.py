"""Record a session."""
