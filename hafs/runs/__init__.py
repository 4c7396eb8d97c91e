"""A run as a folder: recorded config, checkpoints, events, their history, the report page."""
