"""Pools on loopback clouds."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from poolmgr import Job, PoolManager
from poolmgr.cloud import BlockingCloud, Pace
from poolmgr.cloud.breaker import Breaker, Circuits
from poolmgr.drivers.nova import NovaCloud
from poolmgr.errors import CloudUnavailable
from poolmgr.events import Observer
from poolmgr.jobs.message import Message
from poolmgr.jobs.pool_manager import BlockingDelivery
from poolmgr.ownership import Mark
from poolmgr.settings import PoolSettings
from poolmgr.testing.openstack import Call, Fault, LoopbackCloud
from tests.clouds import settings_for
from tests.polling import until
from tests.reaping import BlockingReaper, verdicts

TIMEOUT = 60.0
BASENAME = "libra"
#: A name in the form that the original Pool Manager used as well.
DEVICE_NAME = f"{BASENAME}-eaf1fef0-1584-11e3-b42b-02163e192df9"
SERVERS = "/servers"
ONE_SERVER = "/servers/[^/]{36}"
DETAILS = "/servers/detail"
IPS = "/floatingips"
ONE_IP = "/floatingips/[^/]+"
#: A job's first delivery, and its redelivery after the job server's restart.
OLD = Job("unique", "H:host:1", "127.0.0.1:4730")
NEW = Job("unique", "H:host:7", "127.0.0.1:4730")
#: Uniques that clients may choose; most need escaping in tags, headers, logs.
UNIQUES = (
    "cf2ab40e-9ab0-4a6d-a3a4-b0e0a3f7b5a1",
    "with a blank, a comma/slash",
    "with a blank=and more",
    "Müller",
    "\N{OWL}" * 16,
    "ü" * 32,
    "x" * 64,
    "%" * 64,
    "%41=%",
    r"\xff\xfe %s %d",
)
#: A proxy's answer for a service that it cannot reach.
BAD_GATEWAY = "<html><body><h1>502 Bad Gateway</h1></body></html>"

Json = dict[str, Any]


@dataclass(frozen=True)
class Pool:
    """A pool manager and its loopback cloud."""

    cloud: LoopbackCloud
    manager: PoolManager

    @property
    def openstack(self) -> BlockingCloud:
        """The cloud as actions see it; each call has :data:`TIMEOUT`."""
        return self.manager.cloud.within(TIMEOUT)

    # -- actions ------------------------------------------------------------

    def run(
        self, action: str, job: Job | None = None, **fields: object
    ) -> Message:
        """Run an action and return its answer."""
        return self.manager.run({"action": action, **fields}, job)

    def passes(
        self, action: str, job: Job | None = None, **fields: object
    ) -> Message:
        """Run an action; return its answer, which must be a PASS."""
        answer = self.run(action, job, **fields)
        assert answer["response"] == "PASS", answer
        return answer

    def fails(self, action: str, code: str, **fields: object) -> str:
        """Run an action; return the message of its FAIL.

        :param code: the error code that it must have
        """
        answer = self.run(action, None, **fields)
        assert error_of(answer)["code"] == code, answer
        assert "name" not in answer or "name" in fields, answer
        return str(error_of(answer)["message"])

    def build(self) -> Message:
        """Build a device."""
        return self.passes("BUILD_DEVICE")

    def build_ip(self, device: Message | None = None) -> Message:
        """Build a floating IP and assign it to a device, if one is given."""
        ip = self.passes("BUILD_IP")
        if device is not None:
            self.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])
        return ip

    def adopt(self, **settings: Any) -> None:
        """Change settings of the pool.

        Shorten time-outs after the preparation of a test, which takes long on
        a busy machine.
        """
        self.manager.adopt(replace(self.manager.settings, **settings))

    def submit(self, action: str, job: Job | None = None) -> BlockingDelivery:
        """Start an action and return without its answer."""
        return self.manager.submit({"action": action}, job)

    def run_disconnected(self, action: str, job: Job) -> Message:
        """Run a job that loses its connection; return its answer, a PASS."""

        async def submit() -> BlockingDelivery:
            # The job cannot finish in between, in the same turn of the loop.
            delivery = self.submit(action, job)
            delivery.connection_lost()
            return delivery

        answer = self.openstack.wait(submit()).future.result().answer
        assert answer["response"] == "PASS", answer
        return answer

    # -- the reaper ---------------------------------------------------------

    def reaper(self) -> BlockingReaper:
        """Return a reaper of orphans of any age that it finds twice."""
        return BlockingReaper(
            self.openstack,
            pool=self.manager.settings,
            old=0.0,
            twice=True,
        )

    def reap(self) -> dict[str, str]:
        """Find orphans twice and delete them; return the verdicts by name."""
        reaper = self.reaper()
        # Creation times have whole seconds; age 0 needs the next second.
        time.sleep(1.1)
        reaper.find()
        return verdicts(reaper.remove(reaper.find()))

    # -- circuit breakers ---------------------------------------------------

    @property
    def circuits(self) -> Circuits:
        """The circuit breakers."""
        return self.openstack.cloud.circuits

    @property
    def quota(self) -> Breaker:
        """The circuit breaker of the quota of devices."""
        return self.circuits.capacity["device quota"]

    @property
    def stuck(self) -> bool:
        """Whether a build would only wait at present."""
        return self.circuits.no_capacity

    def breaker(self, name: str) -> Breaker:
        """Return the circuit breaker of some calls, as "making compute"."""
        return self.circuits.calls[name]

    def hint(self, breaker: Breaker) -> None:
        """Let a circuit breaker make its trial call now."""

        async def hint() -> None:
            breaker.hint()

        self.openstack.wait(hint())

    def record_failures(self, breaker: Breaker, times: int = 5) -> None:
        """Report consecutive failures to a circuit breaker."""

        async def record() -> None:
            for _time in range(times):
                breaker.record(CloudUnavailable("it was down"))

        self.openstack.wait(record())

    # -- the cloud ----------------------------------------------------------

    def fault(self, *faults: Fault) -> None:
        """Add faults to the cloud."""
        for fault in faults:
            self.cloud.fault(fault)

    def posts(self, path: str = SERVERS) -> int:
        """Return the number of POSTs to a path."""
        return self.cloud.count("POST", path=path)

    def calls(self, method: str, path: str) -> list[Call]:
        """Return the calls of a method to exactly this path."""
        return [
            call
            for call in self.cloud.calls
            if (call.method, call.path) == (method, path)
        ]

    def only_server(self) -> Json:
        """Return the cloud's only server."""
        (server,) = self.cloud.servers
        return server

    def only_ip(self) -> Json:
        """Return the cloud's only floating IP."""
        (ip,) = self.cloud.floating_ips
        return ip

    def device_of(self, ip: Message) -> str | None:
        """Return the name of the server that a floating IP is attached to."""
        details = self.floating_ip(ip)["port_details"] or {}
        for server in self.cloud.servers:
            if server["id"] == details.get("device_id"):
                return str(server["name"])
        return None

    def floating_ip(self, ip: Message) -> Json:
        """Return the cloud's entry of a floating IP."""
        (found,) = [
            entry
            for entry in self.cloud.floating_ips
            if entry["floating_ip_address"] == ip["ip"]
        ]
        return found

    def boot(self) -> None:
        """Advance the cloud's time until all servers have booted."""
        self.cloud.advance(60.0)

    # -- changes by others --------------------------------------------------

    def create_foreign_server(self, name: str, **fields: object) -> str:
        """Create a server without poolmgr; return its id."""
        ids = self.cloud.ids
        server = {
            "name": name,
            "imageRef": ids["tiny"],
            "flavorRef": ids["m1.nano"],
            "networks": [{"uuid": ids["private"]}],
            **fields,
        }
        return str(self._post("compute", SERVERS, server=server)["id"])

    def create_foreign_ip(self, **fields: object) -> Message:
        """Allocate a floating IP without poolmgr."""
        request = {"floating_network_id": self.cloud.ids["public"], **fields}
        made = self._post("network", IPS, floatingip=request)
        return {"id": made["id"], "ip": made["floating_ip_address"]}

    def port_of(self, server_id: str) -> str:
        """Return the id of a server's first port, once it has one."""
        until(
            lambda: any(
                port["device_id"] == server_id for port in self.cloud.ports
            )
        )
        return next(
            str(port["id"])
            for port in self.cloud.ports
            if port["device_id"] == server_id
        )

    def repeat_call(self, call: Call) -> None:
        """Repeat a request, as if it took effect after its time-out."""
        self._post(call.service, call.path, **call.body)

    def change_ip(self, ip: Message, **fields: object) -> None:
        """Change a floating IP without poolmgr."""
        connection = self.cloud.connect()
        path = f"{IPS}/{ip['id']}"
        answer = connection.network.put(path, json={"floatingip": fields})
        assert answer.status_code == 200, answer.text

    def leave_device(self, job: Job, name: str = f"{BASENAME}-left") -> str:
        """Create a device as a killed worker leaves it; return its name."""
        mark = Mark.for_job(self.manager.settings.pool, job)
        self.openstack.create_device(name, mark)
        return name

    def _post(self, service: str, path: str, **body: object) -> Json:
        connection = self.cloud.connect(compute_default_microversion="2.79")
        answer = getattr(connection, service).post(path, json=body)
        assert answer.status_code < 300, answer.text
        (made,) = answer.json().values()
        return dict(made)


#: Pauses that are short enough for tests.
FAST = Pace(out_of_sight=0.5, delete_again=0.3)


class Pools:
    """Creates pools and closes them.

    :param stack: closes the pools and clouds
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def cloud(self, **settings: Any) -> LoopbackCloud:
        """Return a new cloud; its servers boot within moments by default."""
        return self._stack.enter_context(
            LoopbackCloud(**{"boot_time": 0.05, **settings})
        )

    def new(
        self,
        cloud: LoopbackCloud | Mapping[str, Any] | None = None,
        nova: Mapping[str, Any] | None = None,
        pace: Pace = FAST,
        poll_interval: float = 0.05,
        observer: Observer | None = None,
        **settings: Any,
    ) -> Pool:
        """Return a new pool.

        :param cloud: the cloud, or the settings of a new one
        :param nova: the driver's settings
        :param pace: pauses
        :param poll_interval: seconds between two polls of booting devices
        :param observer: receives the calls
        :param settings: the pool's settings
        """
        if not isinstance(cloud, LoopbackCloud):
            cloud = self.cloud(**(cloud or {}))
        pool_settings = {
            "basename": BASENAME,
            "explain_failures": True,
            "long_timeout": TIMEOUT,
            "short_timeout": TIMEOUT,
            **settings,
        }
        changes = {"call_timeout": 5.0, **(nova or {})}
        driver = NovaCloud(settings_for(cloud, **changes))
        self._stack.callback(driver.close)
        driver.limits = replace(driver.limits, poll_interval=poll_interval)
        manager = PoolManager(
            driver, PoolSettings(**pool_settings), observer=observer, pace=pace
        )
        return Pool(cloud, self._stack.enter_context(manager))


def error_of(answer: Message) -> Json:
    """Return the error of a FAIL."""
    assert answer["response"] == "FAIL", answer
    error = answer["error"]
    assert isinstance(error, dict)
    return error


def fault_id(fault: Fault) -> str:
    """Return a parametrize id: "POST 503", "PUT reset after"."""
    effects = ("reset", "hang", "html", "truncate", "drip", "drip_head")
    words = [fault.method]
    words += [each for each in effects if _is_set(getattr(fault, each))]
    if fault.status is not None:
        words.append(str(fault.status))
    if fault.fate is not None:
        fate = asdict(fault.fate)
        words += [each for each, value in fate.items() if _is_set(value)]
    if fault.body is not None:
        words.append("with a body")
    if fault.after:
        words.append("after")
    return " ".join(word for word in words if word)


def _is_set(value: object) -> bool:
    """Return whether a fault has an effect; 0.0 seconds is one."""
    return value is not None and value is not False
