"""What can go wrong, as one tree of exceptions.

Every error builds its own message from its fields, has a ``code`` that
programs may rely on (it is ``error.code`` of an explained FAIL), and says
whether the same request may succeed later (``retryable``).
"""

import pickle
import threading
from collections.abc import Mapping, Sequence
from opcode import opmap
from typing import Any, ClassVar

from poolmgr.text import one_line

#: Longest that a cloud is left alone because it says so, in seconds.
LONGEST_PAUSE = 3600.0


class PoolmgrError(Exception):
    """Anything poolmgr raises on purpose.

    :cvar code: stable name of the kind of error, for programs
    :cvar retryable: whether the same request may succeed later
    :ivar answer: fields a FAIL answer carries besides the request's own;
        empty but for :class:`DeviceNotDeleted`
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    answer: Mapping[str, object] = {}

    def __reduce__(self) -> tuple[object, ...]:
        # Python itself would call __init__ with the finished message.
        plain = all(type(arg) in _PLAIN for arg in self.args)
        args = self.args if plain else (words_of(self),)
        state = {n: _fit_to_travel(v) for n, v in vars(self).items()}
        return _restore, (type(self), args), state

    def __setstate__(self, state: dict[str, Any] | None, /) -> None:
        # Past what a subclass does when an attribute is set.
        vars(self).update(state or {})


_PLAIN = (str, int, float, bool, type(None))


def _fit_to_travel(value: object) -> object:
    """A value, or its text if it cannot be pickled, as what has a lock."""
    if type(value) in _PLAIN:
        return value
    try:
        pickle.dumps(value)
    except Exception:
        return words_of(value)
    return value


def _restore(cls: type[PoolmgrError], args: tuple[object, ...]) -> object:
    error = cls.__new__(cls, *args)
    if isinstance(error, OSError):  # a subclass may be; __init__ has the text
        OSError.__init__(error, *args)
    return error


def words_of(error: object) -> str:
    """The text of anybody's object; its type's name if it has none."""
    try:
        # Joined, so that a subclass of str becomes plain text.
        return str.join("", [str(error)])
    except BaseException:
        return type(error).__name__


def told(error: BaseException) -> str:
    """Anybody's exception in a line: its kind and its text."""
    kind, said = type(error).__name__, words_of(error)
    return one_line(f"{kind}: {said}" if said not in ("", kind) else kind)


def is_interrupt(error: BaseException) -> bool:
    """Whether a signal has raised this, as Ctrl-C does, not the code itself.

    Somebody's code can raise KeyboardInterrupt and SystemExit, too, and that
    is a defect of it.  A signal's handler raises between any two instructions
    of the main thread; if it is Python's own it has no frame.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if not isinstance(error, (KeyboardInterrupt, SystemExit)):
        return False
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is None:
        return True
    frame = where.tb_frame
    if str(frame.f_globals.get("__name__")).startswith("poolmgr."):
        return True
    raises = frame.f_code.co_code[where.tb_lasti] == opmap["RAISE_VARARGS"]
    return isinstance(error, KeyboardInterrupt) and not raises


class ConfigError(PoolmgrError):
    """The configuration is wrong or incomplete; nothing was started."""

    code = "config"


# -- the request ------------------------------------------------------------


class RequestError(PoolmgrError):
    """The request cannot be carried out as it was sent."""

    code = "bad_request"


class InvalidMessage(RequestError):
    """The message is not a JSON object within the limits."""

    code = "invalid_message"


class UnknownAction(RequestError):
    """No action of that name is installed.

    :ivar action: the name as the request gave it, quoted, or "None"
    """

    code = "unknown_action"

    def __init__(self, action: str, known: Sequence[str] = ()) -> None:
        self.action = action
        known_text = f"; known are {', '.join(known)}" if known else ""
        super().__init__(f"unknown action {action}{known_text}")


class InvalidField(RequestError):
    """A field of the request is missing or not of its type.

    :ivar field: the field's name
    :ivar reason: what the value must be
    """

    code = "invalid_field"

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field!r} {reason}")


# -- what the request names -------------------------------------------------


class NotFound(PoolmgrError):
    """What the request names does not exist.

    :ivar kind: "device" or "floating IP"
    :ivar name: the name or address asked for
    """

    code = "not_found"

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"there is no {kind} {name!r}")


class Ambiguous(PoolmgrError):
    """Several things bear the name; none was touched.

    :ivar kind: "device" or "floating IP"
    :ivar name: the name or address asked for
    :ivar ids: the ids of all that bear it
    """

    code = "ambiguous"

    def __init__(self, kind: str, name: str, ids: Sequence[str]) -> None:
        self.kind = kind
        self.name = name
        self.ids = tuple(ids)
        super().__init__(
            f"{len(self.ids)} {kind}s are named {name!r} "
            f"({', '.join(self.ids)}); none was touched"
        )


class NotOwned(PoolmgrError):
    """The device or floating IP is not this pool's, so it was not touched.

    :ivar kind: "device" or "floating IP"
    :ivar name: its name or address
    :ivar authority: the ``[poolmgr] authority`` that forbids it
    """

    code = "not_owned"

    def __init__(self, kind: str, name: str, authority: str) -> None:
        self.kind = kind
        self.name = name
        self.authority = authority
        super().__init__(
            f"{kind} {name!r} is not this pool's "
            f"([poolmgr] authority is {authority!r}); it was not touched"
        )


class AttachedElsewhere(PoolmgrError):
    """The floating IP is attached to another device than the one named.

    :ivar address: the floating IP's address
    :ivar device: the name of the device the request names
    """

    code = "attached_elsewhere"

    def __init__(self, address: str, device: str) -> None:
        self.address = address
        self.device = device
        super().__init__(
            f"floating IP {address!r} is attached to another device than "
            f"{device!r}; it was not touched"
        )


# -- the cloud --------------------------------------------------------------


class CloudError(PoolmgrError):
    """The cloud did not do what it was asked.

    Drivers raise this and its subclasses, and nothing else, for what the
    cloud does.
    """

    code = "cloud"


class CloudRefused(CloudError):
    """The cloud says the request is wrong or not allowed; asking again is
    of no use."""

    code = "cloud_refused"


class CloudUnavailable(CloudError):
    """The cloud cannot be reached, is overloaded, or failed inside.

    What was asked has had no effect, or can be asked again safely.

    :ivar retry_after: seconds that the cloud wants to be left alone
    """

    code = "cloud_unavailable"
    retryable = True
    retry_after: float = 0.0

    def __init__(self, message: str = "", retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)

    @property
    def pause(self) -> float:
        """Seconds to leave the cloud alone, an hour at most.

        It is 0 if what a driver says makes no sense.
        """
        pause = self.retry_after
        is_number = isinstance(pause, (int, float))
        return min(pause, LONGEST_PAUSE) if is_number and pause > 0 else 0.0


class Busy(CloudUnavailable):
    """The cloud works, and cannot do this at the moment.

    It has had too many requests, or is doing something else with the thing
    that was asked for.  This is no reason to think that it is down.
    """


class OutcomeUnknown(CloudUnavailable):
    """The request may have taken effect or not: its answer was lost."""


class QuotaExceeded(CloudError):
    """The project's quota, or the pool of addresses, is used up."""

    code = "quota_exceeded"
    retryable = True


class AuthenticationFailed(CloudError):
    """The cloud does not accept the credentials."""

    code = "authentication_failed"


class Changed(CloudError):
    """Somebody else changed the thing meanwhile; read it again."""

    code = "changed"
    retryable = True


class DeviceFailed(CloudError):
    """The device went to ERROR or disappeared while it was built.

    :ivar name: the device's name
    :ivar fault: the cloud's own words
    """

    code = "device_failed"
    retryable = True

    def __init__(self, name: str, fault: str) -> None:
        self.name = name
        self.fault = fault
        super().__init__(f"device {name!r} failed: {fault}")


class DeviceNotDeleted(CloudError):
    """A failed device could not be deleted; it is handed back.

    :ivar name: the device's name
    :ivar cause: why it failed, in words
    :ivar reason: why it could not be deleted, in words
    :ivar answer: ``name``, ``addr``, ``type`` and ``az``, so that the
        client can ask for DELETE_DEVICE later
    """

    code = "device_not_deleted"
    retryable = True

    def __init__(
        self,
        name: str,
        cause: object,
        reason: object,
        answer: Mapping[str, object],
    ) -> None:
        self.name = name
        self.cause = words_of(cause)
        self.reason = words_of(reason)
        self.answer = dict(answer)
        super().__init__(
            f"{self.cause}; device {name!r} is left, it cannot be deleted: "
            f"{self.reason}"
        )


# -- time -------------------------------------------------------------------


class DeadlineExceeded(PoolmgrError):
    """The job's time was up before it was done.

    :ivar doing: what it was doing
    :ivar seconds: the time it had, in seconds
    """

    code = "deadline"
    retryable = True

    def __init__(self, doing: str, seconds: float) -> None:
        self.doing = doing
        self.seconds = seconds
        super().__init__(f"{doing}: not done within {seconds:g} s")


class Stopped(PoolmgrError):
    """The process is stopping and the job was given up.

    :ivar doing: what it was doing
    """

    code = "stopped"
    retryable = True

    def __init__(self, doing: str) -> None:
        self.doing = doing
        super().__init__(f"{doing}: given up because poolmgr is stopping")


# -- the library ------------------------------------------------------------


class Closed(PoolmgrError):
    """The pool manager was closed; make another one."""

    code = "closed"

    def __init__(self) -> None:
        super().__init__("the pool manager is closed; make another one")


class Forked(PoolmgrError):
    """The process was forked; its child has to make its own objects.

    :ivar what: what was made before the fork
    """

    code = "forked"

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"the {what} was made before this process was forked and cannot "
            "be used in it: make another one after the fork"
        )


# -- plugins ----------------------------------------------------------------


class PluginError(PoolmgrError):
    """A plugin cannot be used, or broke its contract."""

    code = "plugin"


class PluginNotFound(PluginError):
    """No plugin of that name is installed.

    :ivar kind: "action" or "driver"
    :ivar name: the name asked for
    :ivar known: the names there are
    """

    code = "plugin_not_found"

    def __init__(self, kind: str, name: str, known: Sequence[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        super().__init__(
            f"no {kind} named {name!r} is installed; "
            f"choose one of: {', '.join(known) or '(there are none)'}"
        )


class PluginConflict(PluginError):
    """Two installed plugins have the same name; neither is used.

    :ivar kind: "action" or "driver"
    :ivar name: the name they share
    :ivar providers: what they are, "module:Class (package)"
    """

    code = "plugin_conflict"

    def __init__(self, kind: str, name: str, providers: Sequence[str]) -> None:
        self.kind = kind
        self.name = name
        self.providers = tuple(providers)
        super().__init__(
            f"{kind} {name!r} is refused: it is provided by "
            f"{' and by '.join(providers)}; uninstall all but one"
        )


class PluginBroken(PluginError):
    """A plugin cannot be loaded.

    :ivar kind: "action" or "driver"
    :ivar name: its name
    :ivar reason: the error it failed with
    """

    code = "plugin_broken"

    def __init__(self, kind: str, name: str, reason: str) -> None:
        self.kind = kind
        self.name = name
        self.reason = reason
        super().__init__(f"{kind} {name!r} cannot be loaded: {reason}")


class PluginFailed(PluginError):
    """A plugin raised what it may not raise, or returned nonsense."""

    code = "plugin_failed"


# -- the job servers --------------------------------------------------------


class TransportError(PoolmgrError):
    """A job server cannot be reached or does not speak the protocol."""

    code = "transport"
    retryable = True
