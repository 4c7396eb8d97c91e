"""From configuration to objects: a config is composed from `conf/`, checked as a whole, and built by `build` alone.

Only this package and the commands import Hydra.
"""

from hafs.config.build import build
from hafs.config.check import check
from hafs.config.compose import compose, plain
from hafs.config.hydra_command import command
from hafs.config.overrides import RunName
from hafs.config.shipped import conf_folder

__all__ = ["RunName", "build", "check", "command", "compose", "conf_folder", "plain"]
