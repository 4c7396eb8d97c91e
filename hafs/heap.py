"""The C library's heap as training needs it: without glibc's caches of small blocks.

torch asks for a tensor by `posix_memalign`. glibc takes a larger block, cuts off both ends, and puts the ends into its
caches (of the thread, and its "fast bins"), where they count as used. A freed tensor between two such ends never
becomes whole, and glibc does not find it when the next one of its size is asked for. Without the caches a training run
on a CPU peaks at a fifth less, about the same each time, and as fast (docs/log.md, 2026-11-29).
"""

import os
import sys

TUNABLES = "GLIBC_TUNABLES"
CACHES_OFF = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
"""https://www.gnu.org/software/libc/manual/html_node/Memory-Allocation-Tunables.html"""


def restart_without_caches() -> None:
    """Start this program anew, with the same words, where its C library is glibc and nobody has tuned its heap.

    glibc reads the setting as a process begins and never again, so this is to be called before anything else is done.
    """
    said = os.environ.get(TUNABLES, "")
    if "glibc.malloc." in said or not _is_glibc() or not sys.executable:
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
