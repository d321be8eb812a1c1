"""Makes calls of the services, and reads their answers.

The SDK's resource objects cost many times the JSON that they are made from,
so calls are plain requests.

An entry of a list that is not as documented is left out, which is logged once.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TypeVar

import msgspec
from keystoneauth1.access.access import AccessInfo
from msgspec.structs import replace
from requests import Response

from poolmgr.drivers.base import Driver
from poolmgr.drivers.nova import calls
from poolmgr.drivers.nova.calls import ApiCall, Refused
from poolmgr.drivers.nova.credentials import Account
from poolmgr.drivers.nova.login import Login
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.nova.transport import limit
from poolmgr.errors import Busy, CloudUnavailable
from poolmgr.events import CloudCall
from poolmgr.text import one_line
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)

#: The newest microversion of Nova whose answers are known.
_NEWEST_MICROVERSION = "2.79"
#: The oldest, after "2.", that has tags in the request for a new server.
#: https://docs.openstack.org/nova/latest/reference/api-microversion-history.html
_OLDEST_MICROVERSION = 52
#: Maximum number of pages of a list, against lists without an end.
MOST_PAGES = 1000
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
#: The lists whose entries could not be read, for the log.
_warned: set[str] = set()

#: The fields of an answer, not decoded yet: most of them are never used.
Answer = dict[str, msgspec.Raw]


class Entry(msgspec.Struct, gc=False):
    """An entry of a list; the garbage collector can ignore it.

    :ivar id: the cloud's id; an entry without one cannot be used
    """

    id: str


T = TypeVar("T")
E = TypeVar("E", bound=Entry)


class Api:
    """The services of a cloud; any thread may use it.

    :param account: the credentials
    :param settings: the group ``[nova]``
    :param driver: has the rate limiter, and gets a report of each request
    :ivar login: the login
    :ivar microversion: Nova's microversion; unless it is set, the newest that
        Nova and poolmgr know. Nova's version documents are often wrong or
        hidden, but its 406 is reliable.
    """

    def __init__(
        self, account: Account, settings: NovaSettings, driver: Driver
    ) -> None:
        self._session = limit(account.session, settings.calls_at_once)
        self._driver = driver
        # Reentrant, because two names may share a lock.
        self._locks = [threading.RLock() for _number in range(64)]
        lock = self.lock_for("login")
        self.login = Login(account, self._session, self.send, lock)
        self._fixed_microversion = settings.compute_api_version
        self.microversion = self._fixed_microversion or _NEWEST_MICROVERSION

    def close(self) -> None:
        """Close the connections."""
        self._session.session.close()

    def run(self, call: ApiCall, timeout: float) -> Answer:
        """Make a call; return the fields of its answer.

        :param timeout: seconds for each request
        :raises Refused: the cloud refuses the call
        :raises CloudUnavailable: the cloud does not work at the moment
        :raises OutcomeUnknown: the call creates something, and may have done
            so
        """
        refused: AccessInfo | None = None
        # A token may have been revoked, or Nova be older than the newest
        # version.
        for _attempt in range(2):
            access = self.login.access(timeout, refused)
            url = self.login.url_of(call.service, timeout)
            request = self._request(call, url, access, timeout)
            response = self.send(call, url, request)
            if response.status_code == 401:
                refused = access
            elif not self._learn_microversion(call, response):
                break
        if response.status_code < 300:
            return _fields_in(call, response.content)
        raise calls.error_of_answer(call, response, url)

    def read(self, call: ApiCall, form: type[T], timeout: float) -> T:
        """Make a call; return the field of its answer that it expects.

        :param form: the field's type
        :raises CloudUnavailable: the field has another type; see :meth:`run`
        """
        return _decode(call, self.run(call, timeout), form)

    def exists(self, call: ApiCall, timeout: float) -> bool:
        """Make a call about a resource; return whether it exists."""
        try:
            self.run(call, timeout)
        except Refused as error:
            if error.status != 404:
                raise
            return False
        return True

    def read_list(
        self, call: ApiCall, form: type[E], timeout: float
    ) -> list[E]:
        """Read all pages of a list.

        The next page starts after the last entry.  Links are not followed:
        behind a proxy they often have a wrong host.

        :param form: the type of the entries; others are left out
        :raises Busy: the list changed while it was read
        :raises CloudUnavailable: the list has no end; see :meth:`run`
        """
        # Nova and Neutron name the field after the path.
        key = call.path.split("/")[1].removeprefix("os-").replace("-", "_")
        query = dict(call.params or {})
        call = replace(call, params=query, expects=key)
        found: dict[str, E] = {}
        for _page in range(MOST_PAGES):
            try:
                answer = self.run(call, timeout)
            except Refused as error:
                if "marker" in query and error.status in (400, 404):
                    # The last entry of the previous page was deleted.
                    why = f"{call}: the list changed while it was read"
                    raise Busy(why) from error
                raise
            entries = _decode(call, answer, list[msgspec.Raw])
            known = len(found)
            for entry in _skip_unreadable(key, entries, form):
                found.setdefault(entry.id, entry)
                query["marker"] = entry.id
            # Glance has other links, but its lists are filtered and short.
            links = bytes(answer.get(f"{key}_links", b"[]"))
            if not entries or links in (b"[]", b"null"):
                return list(found.values())
            # A cloud that ignores the marker sends the same page again.
            if len(found) == known:
                break
        raise CloudUnavailable(f"the answers to {call} have no end")

    def lock_for(self, name: str) -> AbstractContextManager[object]:
        """Return a lock, so that threads that use one name take turns.

        :param name: names a change of the cloud, or the login
        """
        return self._locks[hash(name) % len(self._locks)]

    def send(self, call: ApiCall, url: str, request: Callable[[], T]) -> T:
        """Send a request when the rate limit allows it, and report it.

        :param url: where the request is sent
        :raises CloudError: there is no answer, or the login fails
        """
        self._driver.limiter.acquire()
        status, started = None, time.monotonic()
        try:
            answer = request()
            # A login returns no response, but Keystone answered 201.
            status = getattr(answer, "status_code", 201)
            return answer
        except calls.FAILURES as error:
            status = getattr(error, "http_status", None)
            raise calls.error_of(call, error, url) from error
        finally:
            took = time.monotonic() - started
            LOG.debug("%s: %s in %.3f s", call, status or "no answer", took)
            self._driver.report_call(
                CloudCall(call.service, call.method, status, took)
            )

    # -- inside -------------------------------------------------------------

    def _request(
        self, call: ApiCall, url: str, access: AccessInfo, timeout: float
    ) -> Callable[[], Response]:
        """Return a function that sends the request of a call."""
        context, is_nova = current(), call.service == "compute"
        token = {"X-Auth-Token": str(access.auth_token)}
        return partial(
            self._session.request,
            url + call.path,
            call.method,
            params=call.params,
            json=call.body,
            headers={**token, **(call.headers or {})},
            microversion=self.microversion if is_nova else None,
            microversion_service_type=call.service,
            # The services log it as the global request id.
            global_request_id=context.request_id if context else None,
            # keystoneauth would log in by itself.
            authenticated=False,
            raise_exc=False,
            # keystoneauth would log the bodies.
            log=False,
            # keystoneauth's own depends on the wall clock.
            rate_semaphore=nullcontext(),
            timeout=timeout,
        )

    def _learn_microversion(self, call: ApiCall, response: Response) -> bool:
        """Read from Nova's 406 which microversion it knows.

        https://docs.openstack.org/api-guide/compute/microversions.html

        :returns: whether the call can be repeated with that
        """
        if response.status_code != 406 or self._fixed_microversion:
            return False
        body = response.content
        newest = re.search(rb"maximum is 2\.(\d{1,4})\b", body, re.I)
        if newest is None or int(newest[1]) < _OLDEST_MICROVERSION:
            return False
        self.microversion = f"2.{int(newest[1])}"
        return True


def _fields_in(call: ApiCall, body: bytes) -> Answer:
    """Return the fields of an answer.

    :raises CloudUnavailable: it is not a JSON object
    """
    try:
        try:
            return msgspec.json.decode(body or b"{}", type=Answer)
        except msgspec.DecodeError:
            # A lone surrogate in one name must not hide the whole list.
            body = _SURROGATE.sub(b"?", body)
            return msgspec.json.decode(body, type=Answer)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        # The error would quote the body, which may have secrets in it.
        why = f"the answer to {call} is not a JSON object"
        raise call.failed(why) from None


def _decode(call: ApiCall, answer: Answer, form: type[T]) -> T:
    """Return the field of an answer that a call expects."""
    try:
        return msgspec.json.decode(answer[call.expects], type=form)
    except (LookupError, ValueError, msgspec.MsgspecError) as error:
        why = f"has no {call.expects!r}, or not as documented"
        raise call.failed(f"the answer to {call} {why}") from error


def _skip_unreadable(
    kind: str, entries: Iterable[msgspec.Raw], form: type[T]
) -> Iterator[T]:
    """Yield the entries of a list that can be read.

    :param kind: what they are, for the log: "servers"
    """
    for entry in entries:
        try:
            yield msgspec.json.decode(entry, type=form)
        except (ValueError, msgspec.MsgspecError) as error:
            if kind not in _warned:
                _warned.add(kind)
                why = one_line(str(error))
                LOG.warning("ignored in the cloud's %s: %s", kind, why)
