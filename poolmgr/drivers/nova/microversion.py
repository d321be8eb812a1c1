"""Which microversion Nova is spoken to in; found out by asking.

https://docs.openstack.org/api-guide/compute/microversions.html
"""

import re

from poolmgr.errors import CloudRefused

Version = tuple[int, int]

#: The newest whose answers are known.
WANTED: Version = (2, 79)
#: The oldest that will do: since then a server has its tags from birth.
#: https://docs.openstack.org/nova/latest/reference/api-microversion-history.html
NEEDED: Version = (2, 52)

_HEADERS = ("OpenStack-API-Version", "X-OpenStack-Nova-API-Version")
# "Minimum is 2.1 and maximum is 2.96.", or "max_version": "2.96".
_LIMIT = r"\b{}[a-z_]*\W+(?:is\W+)?(\d+)\.(\d+)"


class Microversion:
    """The microversion to ask for.

    :param wanted: the one of the settings, which is not changed; None for
        the newest that Nova and poolmgr know
    :ivar text: as "2.79"
    """

    def __init__(self, wanted: str | None) -> None:
        self._is_set = wanted is not None
        self.text = wanted or _dotted(WANTED)

    def headers(self) -> dict[str, str]:
        """What asks Nova for it."""
        both = (f"compute {self.text}", self.text)
        return dict(zip(_HEADERS, both, strict=True))

    def refused(self, said: str) -> None:
        """Take another, for Nova does not know this one.

        :param said: the text of its answer, which has the range it knows
        :raises CloudRefused: none of it will do
        """
        least, most = _limit("min", said), _limit("max", said)
        if least is None or most is None:
            return
        if self._is_set:
            raise CloudRefused(
                f"[nova] compute_api_version is {self.text}, but Nova knows "
                f"{_dotted(least)} to {_dotted(most)}"
            )
        if most < NEEDED:
            raise CloudRefused(
                f"Nova's newest microversion is {_dotted(most)}; poolmgr "
                f"needs {_dotted(NEEDED)} (the release Pike) or newer"
            )
        self.text = _dotted(max(least, min(most, WANTED)))


def _limit(which: str, said: str) -> Version | None:
    found = re.search(_LIMIT.format(which), said, re.I)
    return (int(found[1]), int(found[2])) if found else None


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
