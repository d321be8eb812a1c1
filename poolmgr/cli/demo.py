"""``poolmgr demo``."""

import argparse
import asyncio
import json
from typing import TextIO

from poolmgr.cli.base import PoolmgrCommand
from poolmgr.cloud import Cloud
from poolmgr.config.gearman_settings import GearmanSettings
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import PoolmgrError
from poolmgr.gearman import Client
from poolmgr.gearman.server import JobServer
from poolmgr.jobs.manager import JobManager
from poolmgr.settings import PoolSettings, WorkerSettings
from poolmgr.worker.service import Service
from poolmgr.worker.signals import ENDING, Ending, Signals

DEVICE = "libra-stg-haproxy-eaf1fef0-1584-11e3-b42b-02163e192df9"
ADDRESS = "15.185.234.125"

#: The requests of Libra's document "Gearman Commands", to the letter: the
#: comma at the end of the second is in the document, too.  DELETE_IP is not
#: in it, but Libra sends it.
REQUESTS = (
    """\
{
    "action": "BUILD_DEVICE"
}""",
    """\
{
    "action": "BUILD_IP",
}""",
    f"""\
{{
   "action": "ASSIGN_IP",
   "ip": "{ADDRESS}",
   "name": "{DEVICE}"
}}""",
    f"""\
{{
   "action": "REMOVE_IP",
   "ip": "{ADDRESS}",
   "name": "{DEVICE}"
}}""",
    f"""\
{{
   "action": "DELETE_IP",
   "ip": "{ADDRESS}"
}}""",
    f"""\
{{
    "action": "DELETE_DEVICE",
    "name": "{DEVICE}"
}}""",
)

_POOL = PoolSettings(basename="libra-stg-haproxy", az="3")
_CLOUD = FakeSettings(
    image="12345",
    boot_time=0.5,
    device_range="15.185.175.80/28",
    # Just one, so that BUILD_IP answers the address that the document has.
    ip_range=f"{ADDRESS}/32",
)


class Demo(PoolmgrCommand):
    """Show a worker at work; needs no configuration.

    Starts the built-in job server and a worker on the fake cloud, sends each
    documented request over the wire, and prints requests and answers.
    """

    service = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Whether to stay up."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--stay",
            action="store_true",
            help="go on serving afterwards, until Ctrl-C",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Run it."""
        return self.app.interruption.run(
            demonstrate(self.app.stdout, parsed_args.stay, self.app.signals)
        )


async def demonstrate(out: TextIO, stay: bool, signals: Signals | None) -> int:
    """Start everything, send the requests, print, and end it.

    :param signals: what ends it if it stays
    :returns: the worker's exit code
    :raises PoolmgrError: an answer was a FAIL
    """
    driver = FakeCloud(_CLOUD)
    driver.create_device(DEVICE, None, 10.0)
    cloud = Cloud(driver, ownership=lambda: _POOL.ownership)
    server = JobServer()
    await server.start()
    try:
        async with JobManager(cloud, _POOL) as manager:
            gearman = GearmanSettings(servers=(str(server.address),))
            service = Service(manager, gearman, WorkerSettings())
            serving = asyncio.create_task(service.run())
            async with Client([server.address]) as client:
                for request in REQUESTS:
                    await _show(client, request, out)
            if stay:
                if signals is not None:
                    ending = Ending(lambda _n: service.call(service.stop))
                    signals.on(ending, *ENDING)
                out.write(_how_to_go_on(str(server.address)))
                out.flush()
            else:
                service.stop()
            return await serving
    finally:
        await server.close()
        cloud.close()


async def _show(client: Client, request: str, out: TextIO) -> None:
    job = await client.submit(WorkerSettings().function, request.encode())
    answer = json.loads(await job.result(60.0))
    out.write(
        f"request\n{request}\nanswer\n{json.dumps(answer, indent=4)}\n\n"
    )
    out.flush()
    if answer["response"] != "PASS":
        raise PoolmgrError(f"the answer to {answer.get('action')} is a FAIL")


def _how_to_go_on(server: str) -> str:
    return (
        "The job server and the worker go on until Ctrl-C. In another "
        "terminal:\n"
        f"  poolmgr --gearman-server {server} status\n"
        f"  poolmgr --gearman-server {server} submit "
        """'{"action": "BUILD_DEVICE"}'\n"""
    )
