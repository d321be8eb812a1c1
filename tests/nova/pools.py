"""A pool to run actions in, on a loopback cloud."""

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

TIMEOUT = 20.0
BASENAME = "libra"
#: A name as the original Pool Manager gave it.
PATTERN = f"{BASENAME}-eaf1fef0-1584-11e3-b42b-02163e192df9"
SERVERS = "/servers"
ONE_SERVER = "/servers/[^/]{36}"
DETAILS = "/servers/detail"
IPS = "/floatingips"
ONE_IP = "/floatingips/[^/]+"
#: A job's first delivery, and one after its job server was restarted.
OLD = Job("unique", "H:host:1", "127.0.0.1:4730")
NEW = Job("unique", "H:host:7", "127.0.0.1:4730")
#: What clients may choose: plain, and what tags, headers and texts trip over.
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
#: What a proxy answers for a service that it cannot reach.
PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"

Json = dict[str, Any]


@dataclass(frozen=True)
class Pool:
    """A manager and its cloud."""

    cloud: LoopbackCloud
    manager: PoolManager

    @property
    def openstack(self) -> BlockingCloud:
        """The cloud as actions see it; each call has its time."""
        return self.manager.cloud.within(TIMEOUT)

    # -- actions ------------------------------------------------------------

    def run(
        self, action: str, job: Job | None = None, **fields: object
    ) -> Message:
        """The answer to a request."""
        return self.manager.run({"action": action, **fields}, job)

    def passes(
        self, action: str, job: Job | None = None, **fields: object
    ) -> Message:
        """The answer, which has to be a PASS."""
        answer = self.run(action, job, **fields)
        assert answer["response"] == "PASS", answer
        return answer

    def fails(self, action: str, code: str, **fields: object) -> str:
        """The reason of an answer that has to be a FAIL of this code."""
        answer = self.run(action, None, **fields)
        assert error_of(answer)["code"] == code, answer
        assert "name" not in answer or "name" in fields, answer
        return str(error_of(answer)["message"])

    def build(self) -> Message:
        """A device."""
        return self.passes("BUILD_DEVICE")

    def ip(self, on: Message | None = None) -> Message:
        """A floating IP, on a device if one is given."""
        ip = self.passes("BUILD_IP")
        if on is not None:
            self.passes("ASSIGN_IP", ip=ip["ip"], name=on["name"])
        return ip

    def adopt(self, **settings: Any) -> None:
        """Use other settings of the pool from now on.

        Times that are to run out come after what is there before: a crowded
        machine may need longer for that.
        """
        self.manager.adopt(replace(self.manager.settings, **settings))

    def submit(self, action: str, job: Job | None = None) -> BlockingDelivery:
        """A job that is not waited for."""
        return self.manager.submit({"action": action}, job)

    def abandoned(self, action: str, job: Job) -> Message:
        """The answer, a PASS, of a job whose connection was lost meanwhile."""

        async def submit() -> BlockingDelivery:
            # In one turn of the loop, or it may be over before that.
            delivery = self.submit(action, job)
            delivery.connection_lost()
            return delivery

        answer = self.openstack.wait(submit()).future.result().answer
        assert answer["response"] == "PASS", answer
        return answer

    # -- what poolmgr knows of the cloud ------------------------------------

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
        return self.circuits.stuck

    def breaker(self, name: str) -> Breaker:
        """The circuit breaker of some calls, as "making compute"."""
        return self.circuits.calls[name]

    def hint(self, breaker: Breaker) -> None:
        """Have a breaker try at once."""

        async def hint() -> None:
            breaker.hint()

        self.openstack.wait(hint())

    def blame(self, breaker: Breaker, times: int = 5) -> None:
        """Tell a breaker of failures in a row."""

        async def blame() -> None:
            for _time in range(times):
                breaker.record(CloudUnavailable("it was down"))

        self.openstack.wait(blame())

    # -- the cloud ----------------------------------------------------------

    def fault(self, *faults: Fault) -> None:
        """Put faults in force."""
        for fault in faults:
            self.cloud.fault(fault)

    def posts(self, path: str = SERVERS) -> int:
        """How many POSTs there were."""
        return self.cloud.count("POST", path=path)

    def calls(self, method: str, path: str) -> list[Call]:
        """The calls of this method to exactly this path."""
        return [
            call
            for call in self.cloud.calls
            if (call.method, call.path) == (method, path)
        ]

    def only_server(self) -> Json:
        """The one server there is."""
        (server,) = self.cloud.servers
        return server

    def only_ip(self) -> Json:
        """The one floating IP there is."""
        (ip,) = self.cloud.floating_ips
        return ip

    def device_of(self, ip: Message) -> str | None:
        """The name of the server that an address leads to."""
        details = self.shown(ip)["port_details"] or {}
        for server in self.cloud.servers:
            if server["id"] == details.get("device_id"):
                return str(server["name"])
        return None

    def shown(self, ip: Message) -> Json:
        """A floating IP as the cloud has it."""
        (shown,) = [
            shown
            for shown in self.cloud.floating_ips
            if shown["floating_ip_address"] == ip["ip"]
        ]
        return shown

    def boot(self) -> None:
        """Let the time pass that the servers there are need to boot."""
        self.cloud.advance(60.0)

    # -- what others do -----------------------------------------------------

    def server(self, name: str, **fields: object) -> str:
        """The id of a server that somebody else makes."""
        ids = self.cloud.ids
        server = {
            "name": name,
            "imageRef": ids["tiny"],
            "flavorRef": ids["m1.nano"],
            "networks": [{"uuid": ids["private"]}],
            **fields,
        }
        return str(self._post("compute", SERVERS, server=server)["id"])

    def someones_ip(self, **fields: object) -> Message:
        """A floating IP that somebody else allocates."""
        wanted = {"floating_network_id": self.cloud.ids["public"], **fields}
        made = self._post("network", IPS, floatingip=wanted)
        return {"id": made["id"], "ip": made["floating_ip_address"]}

    def port_of(self, server_id: str) -> str:
        """The id of a server's first port."""
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

    def repeat(self, call: Call) -> None:
        """A request takes effect that its caller has given up."""
        self._post(call.service, call.path, **call.body)

    def put_ip(self, ip: Message, **fields: object) -> None:
        """Somebody else changes a floating IP."""
        connection = self.cloud.connect()
        path = f"{IPS}/{ip['id']}"
        answer = connection.network.put(path, json={"floatingip": fields})
        assert answer.status_code == 200, answer.text

    def left_by(self, job: Job, name: str = f"{BASENAME}-left") -> str:
        """The name of a device that an earlier delivery made."""
        mark = Mark.for_job(self.manager.settings.pool, job)
        self.openstack.create_device(name, mark)
        return name

    def _post(self, service: str, path: str, **body: object) -> Json:
        connection = self.cloud.connect(compute_default_microversion="2.79")
        answer = getattr(connection, service).post(path, json=body)
        assert answer.status_code < 300, answer.text
        (made,) = answer.json().values()
        return dict(made)


#: Times that tests can wait for.
FAST = Pace(out_of_sight=0.5, delete_again=0.3)


class Pools:
    """Makes pools and closes them.

    :param stack: what is to be closed
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def cloud(self, **settings: Any) -> LoopbackCloud:
        """A cloud; its servers take a moment to boot."""
        wanted = {"boot_time": 0.05, **settings}
        return self._stack.enter_context(LoopbackCloud(**wanted))

    def new(
        self,
        cloud: LoopbackCloud | Mapping[str, Any] | None = None,
        nova: Mapping[str, Any] | None = None,
        pace: Pace = FAST,
        poll_interval: float = 0.05,
        observer: Observer | None = None,
        **settings: Any,
    ) -> Pool:
        """A pool.

        :param cloud: the cloud, or the settings of a new one
        :param nova: the driver's settings
        :param pace: the times of waiting
        :param poll_interval: seconds between two looks at what boots
        :param observer: told of the calls
        :param settings: the pool's settings
        """
        if not isinstance(cloud, LoopbackCloud):
            cloud = self.cloud(**(cloud or {}))
        wanted = {
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
            driver, PoolSettings(**wanted), observer=observer, pace=pace
        )
        return Pool(cloud, self._stack.enter_context(manager))


def error_of(answer: Message) -> Json:
    """Why an answer is a FAIL."""
    assert answer["response"] == "FAIL", answer
    error = answer["error"]
    assert isinstance(error, dict)
    return error


def is_given(value: object) -> bool:
    """Whether a fault has this effect; a time of 0.0 is one."""
    return value is not None and value is not False


def id_of(fault: Fault) -> str:
    """A fault as the id of a test's case: "POST 503", "PUT reset after"."""
    effects = ("reset", "hang", "html", "truncate", "drip", "drip_head")
    words = [fault.method]
    words += [each for each in effects if is_given(getattr(fault, each))]
    if fault.status is not None:
        words.append(str(fault.status))
    if fault.fate is not None:
        fate = asdict(fault.fate)
        words += [each for each, value in fate.items() if is_given(value)]
    if fault.body is not None:
        words.append("with a body")
    if fault.after:
        words.append("after")
    return " ".join(word for word in words if word)
