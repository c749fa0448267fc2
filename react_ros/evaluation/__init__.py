"""Scores reactions: metrics, human timing, corpora, recorded sessions, reports."""
