"""Paths of single things, from ids and names that may be anything.

An id comes from the cloud, a name from the configuration.  Neither may lead
anywhere else: a path with ``..`` in it is another path to those who serve it,
and quoting does not help, for what stands between may undo it.
"""

import re
from urllib.parse import quote

from poolmgr.errors import CloudRefused
from poolmgr.text import one_line

# Ids are uuids, mostly; names of key pairs have blanks and "@", too.
_SEGMENT = re.compile(r"(?!\.+\Z)[A-Za-z0-9_@. -]{1,255}")


def checked_id(value: object) -> str:
    """The id of a thing that was just made.

    :raises ValueError: it is none
    """
    text = str(value)
    if not _SEGMENT.fullmatch(text):
        raise ValueError(f"{one_line(text, 80)!r} is no id")
    return text


def path_of(collection: str, which: str, *rest: str) -> str:
    """The path of a thing in a collection, and perhaps of a part of it.

    :param collection: as "/servers"
    :param which: its id, or its name
    :raises CloudRefused: no thing can have such an id or name
    """
    if not _SEGMENT.fullmatch(which):
        raise CloudRefused(
            f"there can be no {collection}/{one_line(which, 80)!r}"
        )
    return "/".join((collection, quote(which, safe=""), *rest))
