"""Evaluation on recorded sessions."""
