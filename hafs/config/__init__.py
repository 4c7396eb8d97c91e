"""How configuration becomes code: composed from `conf/`, checked whole, then built by `build` and nothing else.

The only room besides the doors that knows Hydra.
"""

from hafs.config.app import door
from hafs.config.build import build
from hafs.config.check import check
from hafs.config.compose import compose, plain
from hafs.config.tree import conf_folder
from hafs.config.words import RunName

__all__ = ["RunName", "build", "check", "compose", "conf_folder", "door", "plain"]
