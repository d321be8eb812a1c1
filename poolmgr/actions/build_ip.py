"""BUILD_IP."""

from collections.abc import Mapping

from poolmgr.actions.base import Action, Context, NoFields
from poolmgr.drivers.base import FloatingIP
from poolmgr.errors import (
    CloudUnavailable,
    DeadlineExceeded,
    PoolmgrError,
    Stopped,
)
from poolmgr.identity import Mark
from poolmgr.waiting import Deadline


class BuildIp(Action[NoFields]):
    """Allocate a floating IP and answer its id and address."""

    takes = NoFields
    answers = ("id", "ip")
    cleanup_time = 10.0

    def run(self, request: NoFields, context: Context) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        ip = self._left_over(context) or self._create(context)
        if not context.wanted():
            # What is left for the job's next delivery must look like it.
            context.driver.mark_ip(ip, context.new_mark(), context.deadline)
        elif ip.mark and ip.mark.state != "handed over":
            mark = ip.mark.taken_over_by(context.job).handed_over()
            context.driver.mark_ip(ip, mark, context.deadline)
        return {"id": ip.id, "ip": ip.address}

    def undo(self, answer: Mapping[str, str], context: Context) -> None:
        """Give the floating IP back, unless another delivery took it over."""
        ip = context.driver.find_ip(answer["ip"], context.deadline)
        if ip is None or ip.id != answer["id"] or ip.mark is None:
            return
        if (ip.mark.unique, ip.mark.handle) == (
            context.job.unique,
            context.job.handle,
        ):
            context.driver.delete_ip(ip, context.deadline)

    def _create(self, context: Context) -> FloatingIP:
        # Allocating takes no time in which anybody could be lost, so it is
        # handed over from birth: a second call for every address would cost
        # more than the few that are marked again afterwards.
        mark = context.new_mark().handed_over()
        try:
            return context.driver.create_ip(mark, context.deadline)
        except (CloudUnavailable, DeadlineExceeded, Stopped):
            # Nobody knows what the cloud made of it.
            self._sweep(mark, context)
            raise

    def _sweep(self, mark: Mark, context: Context) -> None:
        """Give back what a request may have made that nobody heard of."""
        deadline = Deadline(self.cleanup_time)
        what = "a floating IP may be"
        try:
            for ip in context.driver.ips_of_job(mark.unique, deadline):
                if ip.mark == mark:
                    what = f"floating IP {ip.address} is"
                    context.driver.delete_ip(ip, deadline)
        except PoolmgrError as error:
            context.log.warning("%s left allocated: %s", what, error)

    def _left_over(self, context: Context) -> FloatingIP | None:
        """What an earlier delivery of this job made and did not answer."""
        if not context.job.unique:
            return None
        for ip in context.driver.ips_of_job(
            context.job.unique, context.deadline
        ):
            if context.is_left_over(ip.mark):
                context.log.info("takes over floating IP %s", ip.address)
                return ip
        return None
