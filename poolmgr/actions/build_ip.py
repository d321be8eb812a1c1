"""BUILD_IP."""

import asyncio
from collections.abc import Sequence

from poolmgr.actions.base import NoFields
from poolmgr.actions.handover import CreatingAction
from poolmgr.cloud.pace import backoff
from poolmgr.drivers.base import FloatingIP
from poolmgr.errors import Changed
from poolmgr.ownership import Mark

#: Seconds that a list may lack a new floating IP.
SEEN_LATE = 10.0


class BuildIp(CreatingAction[NoFields, FloatingIP]):
    """Allocate a floating IP and return its id and address."""

    takes = NoFields
    answers = ("id", "ip")
    cleanup_time = 10.0

    async def create(self, request: NoFields) -> FloatingIP:
        """See :meth:`CreatingAction.create`."""
        # Short jobs do not wait for quota, because others wait for a slot.
        return await self.context.cloud.create_ip(
            self.context.new_mark(), max_wait=0.0
        )

    async def find_of_job(self) -> Sequence[FloatingIP]:
        """See :meth:`CreatingAction.find_of_job`."""
        unique = self.context.job.unique
        found = await self.context.cloud.ips_of_job(unique)
        # A client already uses those that are attached.
        return [ip for ip in found if ip.device_id is None]

    async def reread(self, ip: FloatingIP) -> FloatingIP | None:
        """See :meth:`CreatingAction.reread`."""
        now = await self.context.cloud.find_ip(ip.address)
        return now if now is not None and now.id == ip.id else None

    async def write_mark(self, ip: FloatingIP, mark: Mark) -> None:
        """See :meth:`CreatingAction.write_mark`."""
        loop, before = asyncio.get_running_loop(), ip.mark or mark
        end = loop.time() + SEEN_LATE
        for pause in backoff(0.1, 2.0):
            try:
                await self.context.cloud.mark_ip(ip, mark)
                return
            except Changed:
                now = await self.reread(ip)
                if now is None:
                    # Neutron's list may lack it for a moment.
                    if loop.time() > end:
                        raise
                elif mark.is_still(now.mark):
                    return  # only the answer was lost
                elif before.is_still(now.mark):
                    ip = now
                else:
                    raise  # another delivery has taken it over
            await asyncio.sleep(pause)

    async def delete(self, ip: FloatingIP) -> None:
        """See :meth:`CreatingAction.delete`."""
        await self.context.cloud.delete_ip(ip)

    def answer(self, ip: FloatingIP) -> dict[str, str]:
        """See :meth:`CreatingAction.answer`."""
        return {"id": ip.id, "ip": ip.address}

    def name(self, ip: FloatingIP) -> str:
        """See :meth:`CreatingAction.name`."""
        return f"floating IP {ip.address}"
