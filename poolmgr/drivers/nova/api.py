"""Calls of the cloud's services.

They are plain calls on the SDK's session: its resource objects cost many times
the JSON they are made from, and its cloud layer does more than it is asked.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import msgspec
from requests import Response

from poolmgr.drivers.base import Driver
from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.calls import (
    Answer,
    Call,
    Service,
    decoded,
    decoded_text,
    parse_answer,
)
from poolmgr.drivers.nova.connection import Access
from poolmgr.drivers.nova.endpoints import Endpoints
from poolmgr.drivers.nova.entries import Entry, read_entries
from poolmgr.drivers.nova.failures import NotSent, Refused
from poolmgr.drivers.nova.limits import Meter
from poolmgr.drivers.nova.login import Login
from poolmgr.drivers.nova.microversion import Microversion
from poolmgr.errors import Busy, CloudUnavailable, OutcomeUnknown
from poolmgr.tracing import current

#: Pages of one list that are read, and entries, at most.
MOST_PAGES = 1000
MOST_ENTRIES = 200_000
#: How often a list is read again from its beginning.
_MOST_RESTARTS = 5
#: What is answered to a path that is not there.
_NOT_THERE = (404, 405, 410)

T = TypeVar("T", bound=Entry)


class Api:
    """The services of a cloud.

    :param access: how to get there; no call has been made yet
    :param driver: whose calls these are
    :param microversion: the one to speak with Nova in; None for the newest
        that both know
    """

    def __init__(
        self, access: Access, driver: Driver, microversion: str | None
    ) -> None:
        self._access = access
        self._meter = Meter(driver)
        self._login = Login(access, self._meter)
        self._endpoints = Endpoints(access, self._login)
        self._microversion = Microversion(microversion)

    def run(self, call: Call) -> Answer:
        """Make a call; the fields of its answer.

        :raises Refused: the cloud says no
        :raises CloudUnavailable: it does not work at the moment
        :raises OutcomeUnknown: the call creates something, and whether it has
            is not known
        """
        try:
            return self._exchange(call)
        except (Busy, NotSent):
            raise
        except CloudUnavailable as error:
            if not call.creates:
                raise
            raise OutcomeUnknown(str(error), error.retry_after) from error

    def read_list(self, call: Call, form: type[T]) -> list[T]:
        """The entries of a list, each once; see :meth:`run`.

        The next page is asked for by the id of the last entry. If that was
        deleted meanwhile, the list is read again from its beginning.

        :param form: what is read of each; what is of another form is left out
        :raises CloudUnavailable: the list has no end, or changes too fast
        """
        key = call.path.split("/")[1].removeprefix("os-").replace("-", "_")
        query = dict(call.params or {})
        found: dict[str, T] = {}
        markers: set[str | None] = {None}
        restarts = 0
        for _page in range(MOST_PAGES):
            page = replace(call, params=query, expects=key)
            answer = self._page(page, restarts)
            if answer is None:
                restarts += 1
                markers = {None}
                del query["marker"]
                continue
            entries = _listed(answer, key, call)
            marker = None
            for entry in read_entries(
                key, entries, partial(decoded, form=form)
            ):
                marker = entry.id
                found.setdefault(marker, entry)
            if not entries or not _has_more(answer.get(f"{key}_links")):
                return list(found.values())
            if marker in markers or len(found) > MOST_ENTRIES:
                break
            markers.add(marker)
            query["marker"] = marker
        raise CloudUnavailable(
            f"the answers to {call} have no end: given up after "
            f"{len(found)} entries"
        )

    def run_if_there(self, call: Call) -> Answer | None:
        """Make a call about one thing; None if the cloud has no such thing."""
        try:
            return self.run(call)
        except Refused as error:
            if error.status != 404:
                raise
            return None

    def project_id(self) -> str:
        """The project whose things are ours; raises as :meth:`run` does."""
        return self._endpoints.project_id()

    def require_service(self, service: Service) -> None:
        """See whether the cloud has a service; raises as :meth:`run` does."""
        self._endpoints.of(service)

    def compute_version(self) -> str:
        """The microversion that Nova is spoken to in; raises as :meth:`run`
        does."""
        cheap = Call("GET", "compute", "/flavors", {"limit": 1})
        self.run(replace(cheap, expects="flavors"))
        return self._microversion.text

    def close(self) -> None:
        """Let the connections go; calls from now on fail."""
        self._meter.closed = True
        self._access.session.session.close()

    # -- inside -------------------------------------------------------------

    def _page(self, call: Call, restarts: int) -> Answer | None:
        """A page of a list; None if the entry before it was deleted.

        :param restarts: how often that has happened already
        """
        try:
            return self.run(call)
        except Refused as error:
            is_first = "marker" not in (call.params or {})
            if is_first or error.status not in (400, 404):
                raise
            if restarts < _MOST_RESTARTS:
                return None
            raise CloudUnavailable(
                f"the answers to {call} change faster than they can be read: "
                f"{error}"
            ) from None

    def _exchange(self, call: Call) -> Answer:
        response = self._negotiated(call)
        body = response.content
        if response.status_code >= 300:
            doing = str(call)
            if call.is_list and response.status_code in _NOT_THERE:
                doing += f" at {self._endpoints.described(call.service)}"
            raise failures.error_of_answer(
                doing,
                call.service,
                response.status_code,
                response.headers,
                decoded_text(body),
                call.creates,
            )
        try:
            return parse_answer(call, body)
        except CloudUnavailable as error:
            where = self._endpoints.described(call.service)
            raise CloudUnavailable(f"{error}; it came from {where}") from None

    def _negotiated(self, call: Call) -> Response:
        """The response, in a microversion that Nova knows."""
        asked = self._microversion.text
        response = self._authorized(call)
        if response.status_code == 406 and call.service == "compute":
            self._microversion.refused(decoded_text(response.content))
            if self._microversion.text != asked:
                return self._authorized(call)
        return response

    def _authorized(self, call: Call) -> Response:
        """The response to a token that is good, if there is one."""
        token = self._login.headers()
        response = self._sent(call, token)
        if response.status_code == 401:
            response = self._sent(call, self._login.headers(refused=token))
        return response

    def _sent(self, call: Call, token: Mapping[str, str]) -> Response:
        """The response to one request."""
        url = self._endpoints.of(call.service) + call.path
        headers = {"Accept": "application/json", **token}
        if call.service == "compute":
            headers |= self._microversion.headers()
        headers |= call.headers or {}
        if (context := current()) is not None:
            # Its services write it into their logs as the global request id.
            headers["X-OpenStack-Request-ID"] = context.request_id
        body: Any = {} if call.body is None else {"json": call.body}
        with (
            failures.translated(str(call), self._access.trust),
            self._meter.request(call.service, str(call)) as sent,
        ):
            # No log, for it would have the bodies; no semaphore, for the
            # SDK's sleeps until the wall clock has caught up.
            response = self._access.session.request(
                url,
                call.method,
                params=dict(call.params or {}),
                headers=headers,
                authenticated=False,
                raise_exc=False,
                log=False,
                rate_semaphore=nullcontext(),
                **body,
            )
            sent.status = response.status_code
        return response


def _listed(answer: Answer, key: str, call: Call) -> list[msgspec.Raw]:
    """The entries of one page."""
    try:
        return decoded(answer[key], list[msgspec.Raw])
    except msgspec.MsgspecError:
        raise CloudUnavailable(
            f"the answer to {call} is not understood: {key!r} is no list"
        ) from None


def _has_more(links: msgspec.Raw | None) -> bool:
    """Whether there is another page; where the links lead does not matter."""
    found = None if links is None else msgspec.json.decode(links)
    if not isinstance(found, list):
        return bool(found)
    return any(
        not isinstance(link, dict) or link.get("rel") != "previous"
        for link in found
    )
