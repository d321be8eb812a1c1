"""Files with secrets that everybody on the machine can read."""

import os
import stat

from poolmgr.text import one_line


def is_exposed(path: str) -> bool:
    """Whether people who own neither the file nor its group can use it.

    A group may: ``root:poolmgr 0640`` is how services have their secrets.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False  # whoever needs it will say so
    return stat.S_ISREG(mode) and bool(mode & (stat.S_IROTH | stat.S_IWOTH))


def warning(path: str, what: str) -> str:
    """A line about such a file.

    :param what: the secret in it, by the name of its option
    """
    shown = one_line(path)
    return (
        f"{shown} has a secret ({one_line(what)}) and can be read by "
        f"everybody: chmod 600 {shown} (640 if a group is to read it)"
    )
