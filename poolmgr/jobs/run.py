"""One run of an action: who waits for it, how it ends, what is undone."""

import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from poolmgr.actions.base import Action, Context, limits
from poolmgr.cloud.capacity import Capacity
from poolmgr.cloud.checked import Checked
from poolmgr.errors import (
    DeadlineExceeded,
    PluginFailed,
    PoolmgrError,
    told,
    words_of,
)
from poolmgr.jobs import message as wire
from poolmgr.jobs.message import FAIL, PASS, Message
from poolmgr.jobs.outcome import (
    Awaited,
    EndedJob,
    Outcome,
    RunningJob,
    failed,
    shown,
)
from poolmgr.ownership import Job
from poolmgr.settings import PoolSettings
from poolmgr.text import one_line
from poolmgr.tracing import Following, Trail
from poolmgr.waiting import Deadline, Stop

LOG = logging.getLogger(__name__)

#: Seconds that seeing to an answer nobody had may take.
AFTERWARDS_TIME = 60.0
#: Seconds after its time in which an action can still say why it failed.
GRACE = 0.5
#: Most steps of a job that progress can be told of: clients count in 32 bits.
MOST_STEPS = 2**31 - 1

Progress = Callable[[int, int], None]


class House(Protocol):
    """Where an action runs: what a manager gives to all of its jobs."""

    driver: Checked
    settings: PoolSettings
    capacity: Capacity
    delivered_before: Callable[[Job], bool]

    def start(self, work: Callable[[], None]) -> None:
        """Do this on a thread, and wait for it before closing."""

    def ended(self, execution: "Execution") -> None:
        """A job has its outcome."""

    def observe(self, ended: "EndedJob") -> None:
        """Log it, and tell whoever looks on."""


@dataclass(frozen=True)
class Submission:
    """One delivery of a job that was started or joined.

    :ivar future: has the outcome; never an exception
    """

    future: "Future[Outcome]"
    _execution: "Execution | None" = None

    @classmethod
    def finished(cls, outcome: Outcome) -> "Submission":
        """One that was over before it began."""
        future: Future[Outcome] = Future()
        future.set_result(outcome)
        return cls(future)

    def forsake(self) -> None:
        """Say that this delivery's answer cannot be delivered any more.

        The job goes on: its next delivery may be under way.
        """
        if self._execution is not None:
            self._execution.leave(self.future)

    def undo(self) -> None:
        """Say that the job server did not want the answer.

        What the action made is taken back, on a thread of its own, unless
        another delivery has had it.
        """
        if self._execution is not None:
            self._execution.undo_for(self.future)

    @property
    def undo_failed(self) -> bool:
        """Whether something that was to be undone is left."""
        return self._execution is not None and self._execution.undo_failed

    def undelivered(self, sent: bool) -> None:
        """Say that the link broke before the job server took the answer.

        :param sent: whether the answer was on its way; it may have arrived
        """
        if self._execution is not None:
            self._execution.undelivered_for(self.future, sent)


class Execution:
    """One run of an action, for one or more deliveries of a job."""

    def __init__(
        self,
        house: House,
        action: type[Action[Any]],
        request: Any,
        fields: Message,
        job: Job,
    ) -> None:
        self.job = job
        self.trail = Trail(shown(fields.get("action")), job)
        self.stop = Stop()
        self.started = time.monotonic()
        self._house = house
        self._action = action
        self._request = request
        self._fields = fields
        #: Kept: the manager may have others before it ends.
        self._settings = house.settings
        # What the class says is taken once: it is a plugin's, and may change.
        self._seconds, self.cleanup_time = _times(action, self._settings)
        #: Seconds after which it is answered even if it does not return.
        self.limit = self._seconds + self.cleanup_time + GRACE
        self._answers = tuple(action.answers)
        self._urgent = not action.long
        self._followed = (
            action.undo is not Action.undo
            or action.undelivered is not Action.undelivered
        )
        self._lock = threading.Lock()
        # Everybody learns of the end; those forsaken have nobody to tell.
        self._receivers: dict[Future[Outcome], Progress | None] = {}
        self._forsaken: set[Future[Outcome]] = set()
        self._outcome: Outcome | None = None
        self._closed = False
        #: The action itself, once it runs.
        self._running: Action[Any] | None = None
        self._thread = 0
        # Whether a receiver may have had the answer, though nobody knows.
        self._doubted = False
        self.undo_failed = False

    def is_same(self, other: "Execution") -> bool:
        """Whether a job with the same unique asks for the same.

        A client may use a unique for several jobs at once by mistake.
        """
        return _content(self._fields) == _content(other._fields)

    def join(self, job: Job, progress: Progress | None) -> Submission | None:
        """Add a receiver of the answer; None when it is too late."""
        future: Future[Outcome] = Awaited()
        # So that nobody can cancel it: there is one answer in any case.
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._closed:
                return None
            if self._receivers:
                LOG.info(
                    "unique=%s handle=%s joins the running job",
                    one_line(job.unique),
                    one_line(job.handle),
                )
            self._receivers[future] = progress
        return Submission(future, self)

    def leave(self, future: "Future[Outcome]") -> None:
        with self._lock:
            self._forsaken.add(future)

    def wanted(self) -> bool:
        with self._lock:
            # Who came after a "no" would have an answer that is not marked
            # as handed over; so it is the last word.
            self._closed = self._closed or not self._heirs()
            return not self._closed

    def forsaken(self) -> bool:
        with self._lock:
            return not self._heirs()

    def report(self, done: int, total: int) -> None:
        """Tell whoever waits; called by the action.

        :raises PluginFailed: these are no numbers of steps
        """
        if not (type(done) is type(total) is int and 0 <= done <= total):
            raise PluginFailed(
                f"action {self._action.__name__} reported progress that is "
                "not two numbers of steps, the first not above the second"
            )
        if total > MOST_STEPS:
            raise PluginFailed(
                f"action {self._action.__name__} reported more than "
                f"{MOST_STEPS} steps"
            )
        with self._lock:
            receivers = list(self._receivers.values())
        for progress in receivers:
            if progress is not None:
                _tell(progress, done, total)

    def running(self) -> RunningJob:
        """What is known of it while it runs."""
        with self._lock:
            deliveries = len(self._heirs())
        return RunningJob(
            self.job,
            shown(self._fields.get("action")),
            time.monotonic() - self.started,
            self.limit,
            deliveries,
            self.trail.request_id,
        )

    def run(self) -> None:
        """Run the action and finish; raises nothing."""
        context = self._context(
            Deadline(self._seconds, self.stop, self._urgent)
        )
        self._thread = threading.get_ident()
        with Following(self.trail):
            outcome = self._act(context)
            if not self._finish(outcome) and outcome.error is None:
                # It was answered with a FAIL when its time was up.
                self._undo(outcome.added)

    def expire(self) -> None:
        """Answer now, whether the action returns or not."""
        self.stop.set()
        doing = f"action {self._action.__name__}"
        if call := self._house.driver.call_of(self._thread):
            doing += f", waiting for {call}"
        self.fail(DeadlineExceeded(doing, self._seconds))

    def fail(self, error: PoolmgrError) -> None:
        """Answer with a FAIL, unless it was answered before."""
        self._finish(self._failed(error))

    def _act(self, context: Context) -> Outcome:
        """Run the action; what it returns or raises is looked at here, once,
        and nowhere else."""
        try:
            action = self._running = self._action()
            result = action.run(self._request, context)
            added = _checked(self._action.__name__, self._answers, result)
        except BaseException as raised:
            error = known(raised, f"action {self._action.__name__}")
            return self._failed(error)
        answer = wire.answer(self._fields, PASS, added)
        return Outcome(answer, added, followed=self._followed)

    def _failed(self, error: PoolmgrError) -> Outcome:
        return failed(self._settings, self._fields, self._answers, error)

    def _finish(self, outcome: Outcome) -> bool:
        """Give the answer to everybody, once; whether this was the once."""
        with self._lock:
            if self._outcome is not None:
                return False
            self._closed = True
            self._outcome = outcome
            receivers = list(self._receivers)
        ended = EndedJob.now(
            self.trail, self._action, self._fields, outcome, self.started
        )
        try:
            self._house.ended(self)
            self._house.observe(ended)
        finally:
            for future in receivers:
                future.set_result(outcome)
        return True

    def undo_for(self, future: "Future[Outcome]") -> None:
        """Take the answer back if nobody else had it."""
        outcome = self._given_to_nobody(future)
        if outcome is None:
            return
        if self._doubted:
            self._house.start(lambda: self._undelivered(outcome.added, True))
        else:
            self._house.start(lambda: self._undo(outcome.added))

    def undelivered_for(self, future: "Future[Outcome]", sent: bool) -> None:
        """Note that the answer may have reached nobody, if nobody had it."""
        self._doubted = self._doubted or sent
        outcome = self._given_to_nobody(future)
        if outcome is not None:
            doubted = self._doubted
            self._house.start(
                lambda: self._undelivered(outcome.added, doubted)
            )

    def _given_to_nobody(self, future: "Future[Outcome]") -> Outcome | None:
        """The PASS that this receiver has not had, if no other had it."""
        with self._lock:
            self._forsaken.add(future)
            outcome, others = self._outcome, self._heirs()
        if outcome is None or outcome.error is not None or others:
            return None
        return outcome

    def _heirs(self) -> "set[Future[Outcome]]":
        """Who can still have the answer; with the lock held."""
        return self._receivers.keys() - self._forsaken

    def _undo(self, added: Mapping[str, Any]) -> None:
        def undo(action: Action[Any], context: Context) -> None:
            context.log.warning("its answer was not wanted; undoing it")
            self.undo_failed = True
            action.undo(added, context)
            self.undo_failed = False

        self._afterwards("undoing an answer", undo)

    def _undelivered(self, added: Mapping[str, Any], sent: bool) -> None:
        def note(action: Action[Any], context: Context) -> None:
            # Where it was not sent, the loss of the link has been told.
            context.log.log(
                logging.WARNING if sent else logging.INFO,
                "the link broke %s its answer was sent",
                "just after" if sent else "before",
            )
            action.undelivered(added, sent, context)

        self._afterwards("noting that its answer was not delivered", note)

    def _afterwards(
        self, doing: str, work: Callable[[Action[Any], Context], None]
    ) -> None:
        action = self._running
        assert action is not None  # noqa: S101 - it has passed
        context = self._context(Deadline(AFTERWARDS_TIME))
        with Following(self.trail):
            try:
                work(action, context)
            except BaseException as raised:
                error = known(raised, doing)
                context.log.error(
                    "%s failed: %s", doing, one_line(words_of(error))
                )

    def _context(self, deadline: Deadline) -> Context:
        return Context(
            driver=self._house.driver,
            settings=self._settings,
            job=self.job,
            deadline=deadline,
            log=_JobLog(
                logging.getLogger(self._action.__module__),
                {"job": self.job, "action": self._fields.get("action")},
            ),
            report=self.report,
            wanted=self.wanted,
            forsaken=self.forsaken,
            capacity=self._house.capacity,
            request_id=self.trail.request_id,
            delivered_before=functools.partial(
                self._house.delivered_before, self.job
            ),
        )


def _tell(progress: Progress, done: int, total: int) -> None:
    try:
        progress(done, total)
    except Exception:  # a caller's mistake, and none of the action's
        LOG.exception("progress could not be told")


def time_limit(action: type[Action[Any]], settings: PoolSettings) -> float:
    """Seconds after which a job of an action is answered in any case."""
    return sum(_times(action, settings)) + GRACE


def _times(
    action: type[Action[Any]], settings: PoolSettings
) -> tuple[float, float]:
    """Seconds that an action may take, and seconds more to clear up in."""
    timeout, cleanup_time = limits(action)
    usual = settings.long_timeout if action.long else settings.short_timeout
    return usual if timeout is None else timeout, cleanup_time


def _content(fields: Message) -> str:
    # Not compared as they are: 1, 1.0 and True are equal in Python.
    return json.dumps(fields, sort_keys=True, default=repr)


class _JobLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the job before every line that an action logs."""

    def process(self, msg: object, kwargs: Any) -> tuple[str, Any]:
        extra = self.extra or {}
        job = extra["job"]
        assert isinstance(job, Job)  # noqa: S101 - for the type checker
        said = (
            f"{one_line(str(extra['action']))} unique={one_line(job.unique)} "
            f"handle={one_line(job.handle)}"
        )
        # What a client says is no format.
        return said.replace("%", "\\x25") + f": {msg}", kwargs


def _checked(
    name: str, answers: Collection[str], result: object
) -> Mapping[str, Any]:
    """What an action returned, if it is what it said it would.

    It is copied: the plugin may go on changing what it returned.
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


def known(error: BaseException, doing: str) -> PoolmgrError:
    """The error itself if it is one of ours, else one that names it."""
    # Not isinstance(): an object can lie about its class.
    if issubclass(type(error), PoolmgrError):
        return error  # type: ignore[return-value]
    try:
        LOG.error("%s failed unexpectedly", doing, exc_info=error)
    except BaseException:  # its traceback, too, is made by a plugin
        LOG.error("%s failed unexpectedly, and cannot be shown", doing)
    failed = PluginFailed(f"{doing}: {told(error)}")
    failed.__cause__ = error
    return failed


def log(ended: EndedJob) -> None:
    """The one line that every job has in the log."""
    job, error = ended.job, ended.outcome.error
    level = logging.INFO if error is None else logging.WARNING
    if not LOG.isEnabledFor(level):
        return
    if error is None:
        # A client's field with a blank could look like two fields.
        about = ended.about.items()
        more = "".join(f" {k}={v}" for k, v in about if " " not in v)
    else:
        more = f" reason={one_line(ended.outcome.reason)}"
    LOG.log(
        level,
        "action=%s unique=%s handle=%s server=%s outcome=%s duration=%.3fs "
        "request=%s%s",
        one_line(ended.trail.action),
        one_line(job.unique) or "-",
        one_line(job.handle) or "-",
        job.server or "-",
        PASS if error is None else FAIL,
        ended.seconds,
        ended.trail.request_id,
        more,
        extra={"poolmgr_job": ended},
    )
