"""``poolmgr demo``."""

import argparse
import asyncio
import json
from typing import TextIO

from poolmgr.cli.base import PoolmgrCommand
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import PoolmgrError
from poolmgr.gearman import Client
from poolmgr.gearman.server import JobServer
from poolmgr.jobs.pool_manager import AsyncPoolManager
from poolmgr.settings import PoolSettings, WorkerSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.worker.service import Service
from poolmgr.worker.signals import ENDING, Ending, handle

DEVICE = "libra-stg-haproxy-eaf1fef0-1584-11e3-b42b-02163e192df9"
ADDRESS = "15.185.234.125"

#: The requests of Libra's document "Gearman Commands", to the letter: the
#: comma at the end of the second is in the document, too.  DELETE_IP is not
#: in it, but Libra sends it.
REQUESTS = tuple(
    f"""\
{{
    "action": "BUILD_DEVICE"
}}

{{
    "action": "BUILD_IP",
}}

{{
   "action": "ASSIGN_IP",
   "ip": "{ADDRESS}",
   "name": "{DEVICE}"
}}

{{
   "action": "REMOVE_IP",
   "ip": "{ADDRESS}",
   "name": "{DEVICE}"
}}

{{
   "action": "DELETE_IP",
   "ip": "{ADDRESS}"
}}

{{
    "action": "DELETE_DEVICE",
    "name": "{DEVICE}"
}}""".split("\n\n")
)

_POOL = PoolSettings(basename="libra-stg-haproxy", az="3")
_CLOUD = FakeSettings(
    image="12345",
    boot_time=0.5,
    device_range="15.185.175.80/28",
    # Just one, so that BUILD_IP answers the address that the document has.
    ip_range=f"{ADDRESS}/32",
)


_HOW_TO_GO_ON = """\
The job server and the worker go on until Ctrl-C. In another terminal:
  poolmgr --gearman-server {0} status
  poolmgr --gearman-server {0} submit '{{"action": "BUILD_DEVICE"}}'
"""


class Demo(PoolmgrCommand):
    """Demonstrate a worker; needs no configuration.

    Starts the built-in job server and a worker on the fake cloud, sends each
    documented request over the wire, and prints requests and answers.
    """

    service = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Whether to stay up."""
        parser.add_argument(
            "--stay",
            action="store_true",
            help="keep serving afterwards, until Ctrl-C",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Start everything, send the requests, print, and end it.

        :returns: the worker's exit code
        :raises PoolmgrError: an answer was a FAIL
        """
        return self.app.interruption.run(self._run(parsed_args.stay))

    async def _run(self, stay: bool) -> int:
        out = self.app.stdout
        driver = FakeCloud(_CLOUD)
        driver.create_device(DEVICE, None, 10.0)
        server = JobServer()
        await server.start()
        address = str(server.address)
        try:
            async with AsyncPoolManager(driver, _POOL) as manager:
                gearman = GearmanSettings(servers=(address,))
                service = Service(manager, gearman, WorkerSettings())
                serving = asyncio.create_task(service.run())
                async with Client([server.address]) as client:
                    for request in REQUESTS:
                        await _show(client, request, out)
                if stay:
                    self._end_by_signals(service)
                    out.write(_HOW_TO_GO_ON.format(address))
                    out.flush()
                else:
                    service.stop()
                return await serving
        finally:
            await server.close()
            driver.close()

    def _end_by_signals(self, service: Service) -> None:
        ending = Ending(lambda _number: service.call(service.stop))
        if self.app.ends_on_signals:
            handle(ending, *ENDING)


async def _show(client: Client, request: str, out: TextIO) -> None:
    job = await client.submit(WorkerSettings().function, request.encode())
    answer = json.loads(await job.result(60.0))
    out.write(
        f"request\n{request}\nanswer\n{json.dumps(answer, indent=4)}\n\n"
    )
    out.flush()
    if answer["response"] != "PASS":
        raise PoolmgrError(f"the answer to {answer.get('action')} is a FAIL")
