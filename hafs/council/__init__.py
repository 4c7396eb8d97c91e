"""The council: router -> experts -> synthesizer, built from the config tree and used as one chat model.

from hafs import council
chain = council(["expert=asm,yaze,debug", "provider=local"]) | StrOutputParser()
council(["router=keyword"]).route("Why does it crash?").picked
council(["mixture=triforce-moe"])                              a registered one: its experts and its router
"""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hafs.council.chat_model import Council


class _Callable(ModuleType):
    """The package is what `from hafs import council` gives once anything in it was imported, so it can be called."""

    def __call__(self, overrides: Sequence[str] = ()) -> "Council":
        """The council for these overrides: `hafs.council.assembly.council`."""
        from hafs.council.assembly import council

        return council(overrides)


sys.modules[__name__].__class__ = _Callable
