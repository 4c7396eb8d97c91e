"""Rows in; checked, deduplicated, split, tokenized samples out."""
