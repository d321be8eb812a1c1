"""Calls of the cloud's services.

They are plain calls on the SDK's session: its resource objects cost many times
the JSON they are made from, and its cloud layer does more than it is asked.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from poolmgr.cloud.breaker import Breaker
from poolmgr.cloud.limiter import Gate
from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.calls import (
    Call,
    Kind,
    Params,
    Service,
    parsed,
    text_of,
)
from poolmgr.drivers.nova.endpoints import Endpoints
from poolmgr.drivers.nova.failures import (
    Busy,
    NotAsked,
    Refused,
    TooMany,
    Unavailable,
)
from poolmgr.drivers.nova.login import Login
from poolmgr.drivers.nova.microversion import (
    AT_LEAST,
    Microversion,
    headers_of,
)
from poolmgr.drivers.nova.origins import Origins
from poolmgr.drivers.nova.paging import read_pages
from poolmgr.drivers.nova.watchdog import Watchdog
from poolmgr.errors import CloudError, CloudRefused, DeadlineExceeded
from poolmgr.events import CloudCall, Observer
from poolmgr.text import one_line
from poolmgr.tracing import current
from poolmgr.waiting import Deadline, backoff

if TYPE_CHECKING:
    from openstack.connection import Connection
    from requests import Response

LOG = logging.getLogger(__name__)

T = TypeVar("T")
DoingT = TypeVar("DoingT")
#: Failures in a row after which a service is tried by single calls only.
_FAILURES = 5
#: Seconds between these.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 2.0
#: What is answered to a path that is not there.
_NOT_THERE = (404, 405, 410)
#: Shows which microversion Nova speaks,
_CHEAP = Call("GET", "compute", "/flavors", {"limit": 1}, expects="flavors")
#: and whether it looks at that at all: it has none so new.
_TOO_NEW = replace(_CHEAP, headers=headers_of("2.99999"))


class _HeldBack(Exception):
    """The service began to fail while the call waited at the gate."""


class Api:
    """The services of a cloud.

    :param connection: how to get there; no call has been made yet
    :param gate: says when a call may begin
    :param call_timeout: seconds that one call may take
    :param origins: where settings are set
    :param microversion: the one to speak with Nova in; None for the newest
        that both know
    :ivar observer: told of each call
    """

    def __init__(
        self,
        connection: "Connection",
        gate: Gate,
        call_timeout: float,
        origins: Origins,
        microversion: str | None = None,
    ) -> None:
        self._connection = connection
        self._gate = gate
        self._origins = origins
        self._call_timeout = call_timeout
        self._watchdog = Watchdog(call_timeout)
        self._closed = False
        self.observer = Observer()
        self._login = Login(
            connection.session,
            self._watchdog,
            lambda call: self.observer.cloud_called(call),
            origins.credentials,
        )
        # A service that cannot make servers, or not list them, may well
        # delete them.
        self._breakers = {
            (service, kind): _breaker(service, kind)
            for service in get_args(Service)
            for kind in get_args(Kind)
        }
        self._endpoints = Endpoints(connection, self._login, origins)
        self._microversion = Microversion(microversion)

    def get(
        self,
        service: Service,
        path: str,
        deadline: Deadline,
        params: Params | None = None,
        expects: str | None = None,
    ) -> dict[str, Any]:
        """Read something; see :meth:`run`."""
        call = Call("GET", service, path, params, expects=expects)
        return self.run(call, deadline)

    def pages(self, call: Call, deadline: Deadline) -> Iterator[Any]:
        """The entries of a list, page by page; see :meth:`run`."""
        return read_pages(self.run, call, deadline)

    def run(self, call: Call, deadline: Deadline) -> dict[str, Any]:
        """Make a call; the JSON of its answer, {} if it has none.

        A call that the cloud had no room for is made again, after the time
        that the cloud asked for.  So is one that failed inside the cloud or
        on its way, unless it is to be made once.

        :raises Refused: the cloud says no
        :raises Unavailable: it had not worked when the time was up
        :raises NotAsked: likewise, and it has not been made even once
        :raises DeadlineExceeded: its turn did not come in time
        :raises Stopped: the wait was called off
        """
        return self._insist(
            self._run_once,
            call,
            deadline,
            call.once,
            self._breakers[call.service, call.kind],
            # A server has to boot; a floating IP is there at once.
            goes_first=call.once and call.service == "compute",
        )

    def project_id(self, deadline: Deadline) -> str:
        """The project whose things are ours; raises as :meth:`run` does."""

        def ask(_doing: str, deadline: Deadline) -> str:
            return self._endpoints.project_id(deadline)

        return self._insist(ask, "logging in", deadline)

    def find(self, service: Service, deadline: Deadline) -> None:
        """See whether the cloud has a service; raises as :meth:`run` does."""

        def find(_doing: str, deadline: Deadline) -> str:
            return self._endpoints.of(service, deadline)

        self._insist(find, f"looking for the service {service}", deadline)

    def compute_version(self, deadline: Deadline) -> str:
        """The microversion that Nova is spoken to in; raises as :meth:`run`
        does."""
        self.run(_CHEAP, deadline)
        return self._microversion.text

    def _insist(
        self,
        ask: Callable[[DoingT, Deadline], T],
        doing: DoingT,
        deadline: Deadline,
        once: bool = False,
        breaker: Breaker | None = None,
        goes_first: bool = False,
    ) -> T:
        """Ask until there is an answer, yes or no, or the time is up.

        :param breaker: has us wait itself while it is open
        :param goes_first: whether patient calls wait for it once it failed
        """
        pauses = backoff(0.25, 10.0)
        failed: Unavailable | None = None
        with ExitStack() as refused:
            for attempt in count(1):
                if self._closed:
                    raise Unavailable(f"{doing}: the driver is closed")
                try:
                    return ask(doing, deadline)
                except DeadlineExceeded:
                    if failed is not None:
                        raise failed from None
                    if breaker is not None and breaker.reason:
                        raise NotAsked(breaker.reason) from None
                    raise
                except failures.Distrusted as error:
                    raise CloudRefused(f"{error}; {self._trust()}") from error
                except Unavailable as error:
                    failed = error
                    if once and not isinstance(error, TooMany):
                        raise
                    pause = max(next(pauses), error.retry_after)
                    if breaker is not None and breaker.open:
                        pause = error.retry_after
                    if pause >= deadline.remaining():
                        raise
                    # Once is nothing; who waits for long wants to know why.
                    level = logging.WARNING if attempt == 3 else logging.INFO
                    LOG.log(level, "%s; again in %.1f s", error, pause)
                finally:
                    if self._closed:
                        # Meanwhile; what was opened since then is closed.
                        self._connection.close()
                if goes_first and attempt == 1:
                    # It is not at the gate while it sleeps.
                    refused.enter_context(self._gate.holding_back())
                deadline.sleep(pause, str(doing))
        raise AssertionError("it is asked until this is left")

    def _trust(self) -> str:
        """What the cloud's certificates are verified with."""
        where = self._origins.of("cacert")
        verify = self._connection.session.verify
        if isinstance(verify, str):
            return f"it is verified with {one_line(verify)!r} ({where})"
        return f"name the file of its authority in {where}"

    def close(self) -> None:
        """Let the connections go; calls from now on fail."""
        self._closed = True
        self._connection.close()

    def trouble(self, service: Service) -> Unavailable | None:
        """Why a service's last look-up failed; None if it did not."""
        reason = self._breakers[service, "reading"].reason
        return Unavailable(reason) if reason else None

    @property
    def breakers(self) -> dict[str, Breaker]:
        """What holds calls back, by the kind and the service of these."""
        found = {
            f"{kind} {service}": breaker
            for (service, kind), breaker in self._breakers.items()
        }
        return {**found, "login": self._login.breaker}

    @property
    def overdue(self) -> float:
        """See :attr:`Watchdog.overdue`."""
        return self._watchdog.overdue

    def try_again(self) -> None:
        """Log in again though it was refused."""
        self._login.breaker.hint()

    @property
    def is_down(self) -> bool:
        """Whether no server can be made at present."""
        return any(
            breaker.open
            for (service, _kind), breaker in self._breakers.items()
            if service == "compute"
        )

    def _run_once(self, call: Call, deadline: Deadline) -> dict[str, Any]:
        breaker = self._breakers[call.service, call.kind]
        answer: dict[str, Any] | CloudError
        while True:
            try:
                with breaker.turn(deadline, deadline.remaining()) as turn:
                    may_go = functools.partial(breaker.allows, turn)
                    if turn.on_trial and deadline.patient:
                        # Others wait for what it tells.
                        deadline = deadline.patiently(0.0)
                    try:
                        answer = self._exchange(call, deadline, may_go)
                    except CloudError as error:
                        if not _is_answer(error):
                            raise
                        answer = error  # a no is an answer, too
            except _HeldBack:
                continue
            if isinstance(answer, CloudError):
                raise answer
            return answer

    def _exchange(
        self, call: Call, deadline: Deadline, may_go: Callable[[], bool]
    ) -> dict[str, Any]:
        """The JSON of the answer.

        :param may_go: asked when the call's turn at the gate has come
        :raises CloudError: the cloud says no, or nothing
        :raises _HeldBack: it may not go, and was not made
        """
        with self._gate.passing(deadline, str(call)):
            if not may_go():
                # Hundreds may have been at the gate when it began to fail.
                raise _HeldBack
            response = self._negotiated(call, deadline)
        body = response.content
        if response.status_code >= 300:
            doing = str(call)
            if call.is_list and response.status_code in _NOT_THERE:
                doing += f" at {self._endpoints.told(call.service)}"
            raise failures.of_answer(
                doing,
                call.service,
                response.status_code,
                response.headers,
                text_of(body),
                call.once,
            )
        try:
            answer = parsed(call, body)
        except Unavailable as error:
            where = self._endpoints.told(call.service)
            raise Unavailable(f"{error}; it came from {where}") from None
        if call.service == "compute" and not self._microversion.is_known:
            self._microversion.answered(response.headers)
            if not self._microversion.is_known and call is not _TOO_NEW:
                self._require_microversions(deadline, may_go)
        return answer

    def _require_microversions(
        self, deadline: Deadline, may_go: Callable[[], bool]
    ) -> None:
        """Go on only if Nova has microversions, though its answers show none.

        :raises CloudRefused: it has none
        """
        try:
            self._exchange(_TOO_NEW, deadline, may_go)
        except Refused as error:
            if error.status != 406:
                raise
            self._microversion.is_known = True
        else:
            raise CloudRefused(f"this Nova has no microversions; {AT_LEAST}")

    def _negotiated(self, call: Call, deadline: Deadline) -> "Response":
        """The response, in a microversion that Nova knows."""
        asked = self._microversion.text
        response = self._send(call, deadline)
        if response.status_code == 406 and call.service == "compute":
            self._microversion.refused(text_of(response.content))
            if self._microversion.text != asked:
                return self._send(call, deadline)
        return response

    def _send(self, call: Call, deadline: Deadline) -> "Response":
        """Make a call, with another token if it has to be."""
        self._login.ensure(deadline)
        response = self._told(call, deadline)
        if response.status_code != 401:
            return response
        refused = response.request.headers.get("X-Auth-Token")
        if not self._login.renew(call.service, _written(refused), deadline):
            return response
        response = self._told(call, deadline)
        if response.status_code == 401:
            self._login.distrust(call.service)
        return response

    def _told(self, call: Call, deadline: Deadline) -> "Response":
        """The response; whoever looks on is told."""
        url = self._endpoints.of(call.service, deadline)
        started = time.monotonic()
        status: int | None = None
        try:
            response = self._watchdog.run(
                lambda: self._send_once(url, call),
                deadline,
                str(call),
                changes=call.method != "GET",
            )
            status = response.status_code
            return response
        finally:
            took = time.monotonic() - started
            LOG.debug("%s: %s in %.3f s", call, status or "no answer", took)
            self.observer.cloud_called(
                CloudCall(call.service, call.method, status, took)
            )

    def _send_once(self, url: str, call: Call) -> "Response":
        options: dict[str, Any] = {}
        if call.body is not None:
            options["json"] = call.body
        headers = {"Accept": "application/json"}
        if call.service == "compute":
            headers |= self._microversion.headers()
        headers |= call.headers or {}
        if (trail := current()) is not None:
            # Its services write it into their logs as the global request id.
            headers["X-OpenStack-Request-ID"] = trail.request_id
        # No retries, for they would repeat a POST; no log, for it would have
        # the bodies; no semaphore, for the SDK's sleeps until the wall clock
        # has caught up.
        return self._connection.session.request(
            url + call.path,
            call.method,
            params=dict(call.params or {}),
            headers=headers,
            timeout=self._call_timeout,
            raise_exc=False,
            allow_reauth=False,
            connect_retries=0,
            status_code_retries=0,
            log=False,
            rate_semaphore=nullcontext(),
            **options,
        )


def _is_answer(error: CloudError) -> bool:
    """Whether the service did its work, which was to say no."""
    return isinstance(error, (TooMany, Busy)) or not isinstance(
        error, Unavailable
    )


def _breaker(service: Service, kind: Kind) -> Breaker:
    """What holds calls back while all of their kind fail."""
    return Breaker(
        f"{kind} things ({failures.NAMES[service]})",
        Unavailable,
        NotAsked,
        threshold=_FAILURES,
        first=_FIRST_PAUSE,
        longest=_LONGEST_PAUSE,
    )


def _written(header: str | bytes | None) -> str | None:
    return header.decode() if isinstance(header, bytes) else header
