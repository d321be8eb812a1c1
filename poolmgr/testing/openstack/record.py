"""The record of all calls."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass
class Call:
    """A call.

    :ivar when: the time of its arrival, in monotonic seconds
    :ivar service: "compute", "network", "image" or "identity"
    :ivar method: the HTTP method
    :ivar path: the path without the service's prefix, as "/servers/detail"
    :ivar query: its parameters; several values of one are joined with commas
    :ivar headers: the User-Agent, If-Match, X-OpenStack-Request-Id and
        OpenStack-API-Version headers, as far as they were sent
    :ivar body: the parsed JSON; None without a body
    :ivar status: the HTTP status of the response; None if there is none yet
    """

    when: float
    service: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    status: int | None = None

    def matches(
        self, method: str | None, service: str | None, path: str | None
    ) -> bool:
        """Return whether method, service and path match; None matches all.

        :param path: a regular expression for the complete path
        """
        return (
            method in (None, self.method)
            and service in (None, self.service)
            and (path is None or re.fullmatch(path, self.path) is not None)
        )


class Record:
    """The calls, the oldest first.

    Any thread may use it without a lock: a list is appended to, copied and
    cleared in single steps.
    """

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        """Add a call."""
        self._calls.append(call)

    def calls(self) -> list[Call]:
        """Return a copy of all calls."""
        return [replace(call) for call in self._calls.copy()]

    def count(
        self,
        method: str | None = None,
        service: str | None = None,
        path: str | None = None,
    ) -> int:
        """Return the number of matching calls; see :meth:`Call.matches`."""
        calls = self._calls.copy()
        return sum(call.matches(method, service, path) for call in calls)

    def counts(self) -> dict[str, int]:
        """Return the number of calls by "compute POST 202" and so on."""
        return Counter(
            f"{call.service} {call.method} {call.status or '-'}"
            for call in self._calls.copy()
        )

    def forget(self) -> None:
        """Remove all calls."""
        self._calls.clear()
