"""BUILD_IP."""

from collections.abc import Mapping

from poolmgr.actions.base import Action, Context, NoFields
from poolmgr.drivers.base import FloatingIP
from poolmgr.errors import PoolmgrError
from poolmgr.waiting import Deadline


class BuildIp(Action[NoFields]):
    """Allocate a floating IP and answer its id and address."""

    takes = NoFields
    answers = ("id", "ip")
    cleanup_time = 10.0

    def run(self, request: NoFields, context: Context) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        ip = self._left_over(context) or context.driver.create_ip(
            context.new_mark(), context.deadline
        )
        try:
            if context.wanted():
                context.driver.mark_ip(
                    ip, context.new_mark().handed_over(), context.deadline
                )
        except BaseException:
            self._give_back(ip, context)
            raise
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

    def _give_back(self, ip: FloatingIP, context: Context) -> None:
        try:
            context.driver.delete_ip(ip, Deadline(self.cleanup_time))
        except PoolmgrError as error:
            context.log.warning(
                "floating IP %s is left allocated: %s", ip.address, error
            )

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
