"""The dashboard: runs in the terminal, in a browser, or as a table. All three show `hafs.runs.history`."""
