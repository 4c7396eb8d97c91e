"""Datasets: rows are read, checked, deduplicated, split and tokenized."""
