"""Paths of single things, from ids and names that may be anything.

An id comes from the cloud, a name from the configuration.  Neither may lead
anywhere else: a path with ``..`` in it is another path to those who serve it.
"""

from urllib.parse import quote

from poolmgr.errors import CloudRefused
from poolmgr.text import one_line


def path_of(collection: str, which: str, *rest: str) -> str:
    """The path of a thing in a collection, and perhaps of a part of it.

    :param collection: as "/servers"
    :param which: its id, or its name
    :raises CloudRefused: there can be no such id or name in a path
    """
    if which in ("", ".", ".."):
        raise CloudRefused(f"{collection} has nothing called {which!r}")
    try:
        quoted = quote(which, safe="")
    except UnicodeError:  # half a surrogate pair
        raise CloudRefused(
            f"{collection} has nothing called {one_line(which)!r}"
        ) from None
    return "/".join((collection, quoted, *rest))
