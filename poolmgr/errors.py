"""The exceptions that poolmgr raises.

Each has a ``code``, which programs may rely on, and tells whether the same
request may succeed later (``retryable``).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from poolmgr.text import message_of


class PoolmgrError(Exception):
    """The base of all errors of poolmgr; can be pickled and copied."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    answer: Mapping[str, object] = {}  #: more fields of the FAIL answer

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call __init__ with the finished message.
        return type(self).__new__, (type(self), message_of(self)), vars(self)


class ConfigError(PoolmgrError):
    """The configuration is wrong or incomplete; nothing was started."""

    code = "config"


class RequestError(PoolmgrError):
    """The request is wrong."""

    code = "bad_request"


class InvalidMessage(RequestError):
    """The message is not a JSON object within the limits."""

    code = "invalid_message"


class UnknownAction(RequestError):
    """The ``action`` of the message is not installed."""

    code = "unknown_action"

    def __init__(self, action: str, known: Sequence[str] = ()) -> None:
        hint = f"; known are {', '.join(known)}" if known else ""
        what = f"unknown action {action}" if action else "'action' is missing"
        super().__init__(f"{what}{hint}")


class InvalidField(RequestError):
    """A field of the request is missing or has a wrong value."""

    code = "invalid_field"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field!r} {reason}")


class NotFound(PoolmgrError):
    """The device or floating IP does not exist."""

    code = "not_found"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"there is no {kind} {name!r}")


class Ambiguous(PoolmgrError):
    """Several resources have the name; none was touched."""

    code = "ambiguous"

    def __init__(self, kind: str, name: str, ids: Sequence[str]) -> None:
        named = f"{len(ids)} {kind}s are named {name!r}"
        super().__init__(f"{named} ({', '.join(ids)}); none was touched")


class NotOwned(PoolmgrError):
    """The device or floating IP does not belong to this pool; it was not
    touched."""

    code = "not_owned"

    def __init__(self, kind: str, name: str, authority: str) -> None:
        why = f"([poolmgr] authority is {authority!r}); it was not touched"
        super().__init__(f"{kind} {name!r} is not this pool's {why}")


class AttachedElsewhere(PoolmgrError):
    """The floating IP is attached to another device than the one named."""

    code = "attached_elsewhere"


class CloudError(PoolmgrError):
    """The cloud failed or refused a request; base class of drivers' errors."""

    code = "cloud"


class CloudRefused(CloudError):
    """The cloud refused the request; a retry would not help."""

    code = "cloud_refused"


class CloudUnavailable(CloudError):
    """The cloud cannot be reached, is overloaded, or failed internally.

    The request had no effect, or can be repeated safely.

    :ivar retry_after: seconds to wait before the next request
    """

    code = "cloud_unavailable"
    retryable = True
    retry_after: float = 0.0

    def __init__(self, message: str = "", retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Busy(CloudUnavailable):
    """The cloud works but is busy: rate limit reached, or device in use."""


class OutcomeUnknown(CloudUnavailable):
    """The answer to the request was lost; it may have taken effect."""


class QuotaExceeded(CloudError):
    """The project's quota, or the pool of addresses, is used up."""

    code = "quota_exceeded"
    retryable = True


class AuthenticationFailed(CloudError):
    """The cloud does not accept the credentials."""

    code = "authentication_failed"


class Changed(CloudError):
    """Another client changed the resource in the meantime."""

    code = "changed"
    retryable = True


class DeviceFailed(CloudError):
    """The device failed to boot, or disappeared."""

    code = "device_failed"
    retryable = True

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(f"device {name!r} failed: {fault}")


class DeviceNotDeleted(CloudError):
    """A device failed and could not be deleted.

    The FAIL answer has its name, for a later DELETE_DEVICE.
    """

    code = "device_not_deleted"
    retryable = True

    def __init__(self, message: str, answer: Mapping[str, object]) -> None:
        self.answer = dict(answer)
        super().__init__(message)


class DeadlineExceeded(PoolmgrError):
    """The job was not done by its deadline."""

    code = "deadline"
    retryable = True

    def __init__(self, doing: str, seconds: float) -> None:
        super().__init__(f"{doing}: not done within {seconds:g} s")


class Stopped(PoolmgrError):
    """The process is stopping, so the job was given up."""

    code = "stopped"
    retryable = True

    def __init__(self, doing: str) -> None:
        super().__init__(f"{doing}: given up because poolmgr is stopping")


class Cancelled(PoolmgrError):
    """The caller cancelled the job."""

    code = "cancelled"
    retryable = True

    def __init__(self, doing: str) -> None:
        super().__init__(f"{doing}: cancelled by the caller")


class Closed(PoolmgrError):
    """The pool manager was closed; create a new one."""

    code = "closed"

    def __init__(self) -> None:
        super().__init__("the pool manager is closed; create a new one")


class Forked(PoolmgrError):
    """An object that was created before a fork was used in the child."""

    code = "forked"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the {what} was made before this process was forked and cannot "
            "be used in it: create a new one after the fork"
        )


class TransportError(PoolmgrError):
    """A job server cannot be reached or does not speak the protocol."""

    code = "transport"
    retryable = True


class PluginError(PoolmgrError):
    """A plugin cannot be used, or broke its contract."""

    code = "plugin"


class PluginFailed(PluginError):
    """A plugin raised an unexpected error or returned a wrong value."""

    code = "plugin_failed"


class PluginNotFound(PluginError):
    """The action or driver is not installed."""

    code = "plugin_not_found"

    def __init__(self, kind: str, name: str, known: Sequence[str]) -> None:
        choices = ", ".join(known) or "(there are none)"
        absent = f"no {kind} named {name!r} is installed"
        super().__init__(f"{absent}; choose from {choices}")


class PluginConflict(PluginError):
    """Several installed plugins have the same name; none is used."""

    code = "plugin_conflict"


class PluginBroken(PluginError):
    """A plugin cannot be loaded."""

    code = "plugin_broken"
