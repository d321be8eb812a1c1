"""BUILD_IP."""

import contextlib
import time
from collections.abc import Mapping

from poolmgr.actions.base import Action, Context, NoFields
from poolmgr.drivers.base import FloatingIP
from poolmgr.errors import (
    Changed,
    CloudUnavailable,
    DeadlineExceeded,
    PoolmgrError,
    Stopped,
)
from poolmgr.ownership import Mark
from poolmgr.waiting import Deadline

#: Seconds that a floating IP that was made may not be to be seen.
_SEEN_LATE = 10.0


class BuildIp(Action[NoFields]):
    """Allocate a floating IP and answer its id and address."""

    takes = NoFields
    answers = ("id", "ip")
    cleanup_time = 10.0

    def __init__(self) -> None:
        #: The mark with which the floating IP was handed over.
        self._given: Mark | None = None

    def run(self, request: NoFields, context: Context) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        doing = "allocating a floating IP"
        for _attempt in context.deadline.retries(doing):
            left = self._left_over(context)
            try:
                ip = left[0] if left else self._create(context)
                if not self._hand_over(ip, bool(left), context):
                    continue
            except BaseException:
                deadline = Deadline(self.cleanup_time / 2)
                self._give_back_others("", left, deadline, context)
                raise
            # Not at the cost of the one that is answered.
            seconds = min(self.cleanup_time, context.deadline.remaining() / 2)
            deadline = Deadline(seconds, context.deadline.stop)
            self._give_back_others(ip.id, left, deadline, context)
            return {"id": ip.id, "ip": ip.address}
        raise DeadlineExceeded(doing, context.deadline.seconds)

    def undo(self, answer: Mapping[str, str], context: Context) -> None:
        """Give the floating IP back, unless another delivery took it over."""
        ip = self._handed_over(answer, context)
        if ip is not None:
            context.driver.delete_ip(ip, context.deadline)

    def undelivered(
        self, answer: Mapping[str, str], sent: bool, context: Context
    ) -> None:
        """Mark the floating IP, unless another delivery took it over."""
        ip = self._handed_over(answer, context)
        if ip is None or ip.mark is None:
            return
        mark = ip.mark.unconfirmed() if sent else ip.mark.withdrawn()
        with contextlib.suppress(Changed):  # then somebody has it
            context.driver.mark_ip(ip, mark, context.deadline)

    def _handed_over(
        self, answer: Mapping[str, str], context: Context
    ) -> FloatingIP | None:
        """The floating IP as this delivery has handed it over; else None."""
        ip = context.driver.find_ip(answer["ip"], context.deadline)
        given = self._given
        if ip is None or ip.id != answer["id"] or given is None:
            return None
        return ip if given.is_still(ip.mark) else None

    def _create(self, context: Context) -> FloatingIP:
        mark = context.new_mark()
        try:
            # A short job waits for no room: others would wait with it.
            with context.capacity.ips.turn(context.deadline, patience=0.0):
                return context.driver.create_ip(mark, context.deadline)
        except (CloudUnavailable, DeadlineExceeded, Stopped) as error:
            if not error.nothing_made:
                # Nobody knows what the cloud made of it.
                self._sweep(mark, context)
            raise

    def _hand_over(
        self, ip: FloatingIP, was_left: bool, context: Context
    ) -> bool:
        """Mark it right before it is answered.

        Not from birth: a worker that is killed while the cloud allocates may
        leave one that the job's next delivery cannot see yet.

        :param was_left: whether an earlier delivery has made it
        :returns: False if an earlier delivery is not done with it
        """
        if not context.wanted():
            # The job's next delivery takes it over; it may have done so.
            return True
        mark = ip.mark or context.new_mark()
        if was_left:
            context.log.info("takes over floating IP %s", ip.address)
            mark = mark.taken_over_by(context.job)
        self._given = mark.handed_over()
        try:
            self._mark(ip, self._given, context)
        except Changed as error:
            context.log.info("%s; looking again", error)
            return False
        except PoolmgrError:
            self._discard(ip, context)
            raise
        return True

    def _mark(self, ip: FloatingIP, mark: Mark, context: Context) -> None:
        """Write a mark, unless somebody else has written one meanwhile.

        :raises Changed: somebody has
        """
        end = time.monotonic() + _SEEN_LATE
        for _attempt in context.deadline.retries(f"marking {ip.address}"):
            try:
                context.driver.mark_ip(ip, mark, context.deadline)
                return
            except Changed:
                now = context.driver.find_ip(ip.address, context.deadline)
                if now is None and time.monotonic() < end:
                    continue  # what is new may not be to be seen yet
                if now is None or now.id != ip.id:
                    raise
                if mark.is_still(now.mark):
                    return  # it was only the answer that was lost
                if ip.mark is None or not ip.mark.is_still(now.mark):
                    raise
                ip = now  # something else about it has changed

    def _sweep(self, mark: Mark, context: Context) -> None:
        """Give back what a request may have made that nobody heard of."""
        if context.forsaken():
            return  # another worker may have found it
        deadline = Deadline(self.cleanup_time)
        what = "a floating IP may be"
        try:
            for ip in context.driver.ips_of_job(mark.unique, deadline):
                if ip.mark == mark:
                    what = f"floating IP {ip.address} is"
                    context.driver.delete_ip(ip, deadline)
        except PoolmgrError as error:
            context.log.warning("%s left allocated: %s", what, error)

    def _discard(self, ip: FloatingIP, context: Context) -> None:
        """Give back what cannot be handed over."""
        if context.forsaken():
            return  # another worker may have taken it over
        deadline = Deadline(self.cleanup_time)
        try:
            now = context.driver.find_ip(ip.address, deadline)
            if now is None or now.id != ip.id:
                return
            if ip.mark and now.mark and ip.mark.taken != now.mark.taken:
                return  # and so it has
            context.driver.delete_ip(ip, deadline)
        except PoolmgrError as error:
            context.log.warning(
                "floating IP %s is left allocated: %s", ip.address, error
            )

    def _give_back_others(
        self,
        kept: str,
        left: list[FloatingIP],
        deadline: Deadline,
        context: Context,
    ) -> None:
        """Give back what earlier deliveries have made besides.

        :param kept: id of the one that is answered
        :param left: what was to be seen when the job came here
        """
        if not context.job.unique or context.forsaken():
            return
        before = {each.id: each.mark for each in left}
        try:
            for ip in context.driver.ips_of_job(context.job.unique, deadline):
                # What is attached has reached its client.
                if (
                    ip.id != kept
                    and ip.device_id is None
                    and context.is_spare(ip.mark, before.get(ip.id))
                ):
                    context.log.warning(
                        "gives back floating IP %s, too", ip.address
                    )
                    context.driver.delete_ip(ip, deadline)
        except Stopped as error:
            # The one that is handed over has to be answered all the same.
            context.log.info("another floating IP may be left: %s", error)
        except PoolmgrError as error:
            context.log.warning("another floating IP may be left: %s", error)

    def _left_over(self, context: Context) -> list[FloatingIP]:
        """What earlier deliveries of this job made and did not answer.

        :returns: the best first: one that was handed over
        """
        if not context.job.unique:
            return []
        found = [
            ip
            for ip in context.driver.ips_of_job(
                context.job.unique, context.deadline
            )
            if context.is_left_over(ip.mark)
        ]
        return sorted(found, key=_is_left)


def _is_left(ip: FloatingIP) -> bool:
    return ip.mark is not None and ip.mark.is_left
