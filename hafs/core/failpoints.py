"""Named places where a test kills the process or makes the disk fail; unarmed, one costs a dictionary lookup.

`HAFS_FAILPOINTS='commit.written:kill commit.synced@step-00000004:ENOSPC'`, read once, arms places for a whole process:
at the place (of the thing whose name contains what follows the `@`) it is killed, or the errno is raised.
"""

import errno
import os
import signal

_armed: dict[str, list[tuple[str, str]]] = {}


def arm(places: str) -> None:
    """Arm these places, and no others; `@THING` is optional."""
    _armed.clear()
    for word in places.split():
        place, action = word.rsplit(":", 1)
        name, _, thing = place.partition("@")
        _armed.setdefault(name, []).append((thing, action))


def failpoint(name: str, thing: str = "") -> None:
    """End the process or raise an error, if a test armed this place.

    Args:
        name: Of the place.
        thing: What is being worked on, so that one of many passes can be chosen.

    Raises:
        OSError: The armed one.
    """
    if _armed:
        for wanted, action in _armed.get(name, ()):
            if wanted in thing:
                _act(action, f"{name}@{thing}")


def _act(action: str, where: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    number = getattr(errno, action)
    raise OSError(number, f"{os.strerror(number)} (injected at {where})")


arm(os.environ.get("HAFS_FAILPOINTS", ""))
