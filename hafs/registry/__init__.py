"""Registered models: their records and files, model cards, exports, backups."""
