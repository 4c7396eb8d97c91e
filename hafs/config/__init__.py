"""How configuration becomes code: composed from `conf/`, checked whole, then built by `build` and nothing else.

The only room besides the commands that knows Hydra.
"""

from hafs.config.build import build
from hafs.config.check import check
from hafs.config.compose import compose, plain
from hafs.config.hydra_command import command
from hafs.config.overrides import RunName
from hafs.config.tree import conf_folder

__all__ = ["RunName", "build", "check", "command", "compose", "conf_folder", "plain"]
