"""Evaluation on corpora: options, rows, blocks, figures."""
