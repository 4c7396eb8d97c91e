"""The commands, one Hydra app each: what they read, what they call, what they print; `hafs NAME` starts `NAME.py`."""
