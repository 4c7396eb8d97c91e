"""Runs on a screen: a terminal, a page, a table. All of them draw `hafs.runs.history`."""
