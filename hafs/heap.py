"""The C library's heap as training needs it: without glibc's caches of small blocks.

torch asks for a tensor by `posix_memalign`. glibc takes a larger block, cuts off both ends, and puts the ends into the
thread's cache, where they count as used. A freed tensor between two such ends never becomes whole, and glibc does not
find it when the next one of its size is asked for. Without the caches a training run on a CPU peaks at a tenth to a
quarter less, the same each time and as fast (docs/planning.md has the figures).
"""

import os
import sys

TUNABLES, CACHES_OFF = "GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"
"""https://www.gnu.org/software/libc/manual/html_node/Memory-Allocation-Tunables.html"""


def restart_without_caches() -> None:
    """Start this program anew, with the same words, where its C library is glibc and has its caches on.

    glibc reads the setting as a process begins and never again, so this is to be called before anything else is done.
    What the environment says of the caches stays.
    """
    said = os.environ.get(TUNABLES, "")
    if "tcache" in said or not _is_glibc() or not sys.executable:
        return
    os.environ[TUNABLES] = f"{said}:{CACHES_OFF}".lstrip(":")
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:  # no room for a new image: as it is, then
        return


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, ValueError, OSError):  # no such call, no such name, no value
        return False
