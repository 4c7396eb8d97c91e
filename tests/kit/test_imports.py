"""Every module of hafs imports: at the tested versions, and at the lower bounds (make test-lowest)."""

from importlib import import_module
from pathlib import Path

import pytest

import hafs
from hafs.config.extras import missing_extra

PACKAGE = Path(hafs.__file__).parent
MODULES = sorted(
    ".".join(("hafs", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports(module):
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if missing := missing_extra(error):
            pytest.skip(str(missing))
        raise
