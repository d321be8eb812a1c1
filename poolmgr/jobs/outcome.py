"""Outcomes: what an action returned or raised becomes an answer."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

from poolmgr.errors import DeviceNotDeleted, PluginFailed, PoolmgrError
from poolmgr.events import Outcome
from poolmgr.foreign import told, words_of
from poolmgr.jobs import message as wire
from poolmgr.jobs.message import FAIL, Message

LOG = logging.getLogger(__name__)

#: Most steps of a job that progress can be told of: clients count in 32 bits.
MOST_STEPS = 2**31 - 1


def failed(
    error: PoolmgrError,
    fields: Message,
    withheld: Collection[str],
    explain: bool,
) -> Outcome:
    """Make the outcome of a job that failed.

    :param fields: the message's own fields
    :param withheld: what the action answers.  It must not look answered: a
        FAIL of BUILD_DEVICE that has only a name breaks Libra's client.
    :param explain: whether the answer says why
    """
    try:
        # Once: it may be a plugin's own kind of error, which can change.
        reason = str.join("", [str(error)])
        code, retryable = error.code, error.retryable
        handed_back = isinstance(error, DeviceNotDeleted)
        added = wire.snapshot(error.answer) if handed_back else {}
        if type(code) is not str or type(retryable) is not bool:
            raise TypeError("its code or retryable is of another type")
    except BaseException as wrong:
        unusable = PluginFailed(f"{told(error)}, not usable: {told(wrong)}")
        return failed(unusable, fields, withheld, explain)
    if explain:
        added["error"] = {
            "code": code,
            "message": reason,
            "retryable": retryable,
        }
    answer = wire.answer(fields, FAIL, added, withheld)
    return Outcome(answer, added, error, code, reason, retryable)


def checked(
    name: str, answers: Collection[str], result: object
) -> Mapping[str, Any]:
    """Check what an action returned, and copy it: the action may go on
    changing it.

    :param name: the action's name
    :param answers: the fields that it has to have
    :raises PluginFailed: it is something else
    """
    if not issubclass(type(result), Mapping):
        raise PluginFailed(
            f"action {name} returned {type(result).__name__}, not a mapping"
        )
    try:
        added = wire.snapshot(result)  # type: ignore[arg-type]
    except BaseException as error:
        raise PluginFailed(
            f"action {name} returned what is not JSON: {told(error)}"
        ) from None
    if added.keys() != set(answers):
        raise PluginFailed(
            f"action {name} returned the fields {sorted(added)}, not "
            f"{sorted(answers)}"
        )
    return added


def check_progress(doing: str, done: object, total: object) -> None:
    """Check the progress that an action reports.

    :param doing: which action it is, for the error
    :raises PluginFailed: these are no numbers of steps
    """
    if not (type(done) is int and type(total) is int and 0 <= done <= total):
        raise PluginFailed(
            f"{doing} reported progress that is not two numbers of steps, the "
            "first not above the second"
        )
    if total > MOST_STEPS:
        raise PluginFailed(f"{doing} reported more than {MOST_STEPS} steps")


def known(error: BaseException, doing: str) -> PoolmgrError:
    """Return the error itself if it is one of ours, else one that names it.

    :param doing: what was being done, for the log
    """
    # Not isinstance(): an object can lie about its class.
    if issubclass(type(error), PoolmgrError):
        return error  # type: ignore[return-value]
    try:
        LOG.error("%s failed unexpectedly", doing, exc_info=error)
    except BaseException:  # its traceback, too, is made by a plugin
        LOG.error("%s failed unexpectedly, and cannot be shown", doing)
    failure = PluginFailed(f"{doing}: {told(error)}")
    failure.__cause__ = error
    return failure


def shown(value: object) -> str:
    """Return a value of a message as text; a caller's own objects by their
    type."""
    if value is None or type(value) in (str, bool, int, float):
        return words_of(value)
    return type(value).__name__
