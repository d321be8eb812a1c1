"""``poolmgr demo``: a job server, a worker and the documented requests."""

import argparse
import asyncio
import json

from poolmgr.cli.base import PoolmgrCommand
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import PoolmgrError
from poolmgr.gearman.client import Client
from poolmgr.gearman.server import JobServer
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.settings import PoolSettings, WorkerSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.worker.service import Service
from poolmgr.worker.signals import ENDING, Ending, handle

DEVICE = "libra-stg-haproxy-eaf1fef0-1584-11e3-b42b-02163e192df9"
ADDRESS = "15.185.234.125"

_WITH_BOTH = f"""\
{{
   "action": "%s",
   "ip": "{ADDRESS}",
   "name": "{DEVICE}"
}}"""
#: The requests of Libra's document "Gearman Commands", verbatim, with the
#: trailing comma in the second; and DELETE_IP, which only Libra's code has.
REQUESTS = (
    '{\n    "action": "BUILD_DEVICE"\n}',
    '{\n    "action": "BUILD_IP",\n}',
    _WITH_BOTH % "ASSIGN_IP",
    _WITH_BOTH % "REMOVE_IP",
    f'{{\n   "action": "DELETE_IP",\n   "ip": "{ADDRESS}"\n}}',
    f'{{\n    "action": "DELETE_DEVICE",\n    "name": "{DEVICE}"\n}}',
)

_POOL = PoolSettings(basename="libra-stg-haproxy", az="3")
_CLOUD = FakeSettings(
    image="12345",
    boot_time=0.5,
    # Its first address is the document's.
    device_range="15.185.175.80/28",
    # A single address, so that BUILD_IP returns the document's.
    ip_range=f"{ADDRESS}/32",
)

_NEXT_STEPS = """\
The job server and the worker run until Ctrl-C. In another terminal:
  poolmgr --gearman-server {0} status
  poolmgr --gearman-server {0} submit '{{"action": "BUILD_DEVICE"}}'"""


class Demo(PoolmgrCommand):
    """Demonstrate a worker; needs no configuration.

    Starts the built-in job server and a worker on the fake cloud, sends each
    documented request over the wire, and prints requests and answers.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add whether to keep serving."""
        stay = "keep serving afterwards, until Ctrl-C"
        parser.add_argument("--stay", action="store_true", help=stay)

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Start job server and worker, and send the requests.

        :returns: the worker's exit code
        :raises PoolmgrError: an answer is a FAIL
        """
        return self.app.interruption.run(self._run(parsed_args.stay))

    async def _run(self, stay: bool) -> int:
        driver = FakeCloud(_CLOUD)
        # The documented requests name a device that exists already.
        driver.create_device(DEVICE, None, 10.0)
        server = JobServer()
        await server.start()
        try:
            async with AsyncPoolManager(driver, _POOL) as manager:
                gearman = GearmanSettings(servers=(str(server.address),))
                service = Service(manager, gearman, WorkerSettings())
                serving = asyncio.create_task(service.run())
                async with Client([server.address]) as client:
                    for request in REQUESTS:
                        await self._show(client, request)
                if stay:
                    ending = Ending(lambda _number: service.call(service.stop))
                    handle(ending, *ENDING)
                    self._print(_NEXT_STEPS.format(server.address))
                else:
                    service.stop()
                return await serving
        finally:
            await server.close()
            driver.close()

    async def _show(self, client: Client, request: str) -> None:
        job = await client.submit(WorkerSettings().function, request.encode())
        answer = json.loads(await job.result(60.0))
        shown = json.dumps(answer, indent=4)
        self._print("request", request, "answer", shown, "")
        if answer["response"] != "PASS":
            action = answer.get("action")
            raise PoolmgrError(f"the answer to {action} is a FAIL")

    def _print(self, *lines: str) -> None:
        print(*lines, sep="\n", file=self.app.stdout, flush=True)
