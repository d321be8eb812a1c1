"""The place for the pages on OpenStack: a cloud that refuses as shown."""

import re
from typing import Any, ClassVar

from poolmgr import PoolManager
from poolmgr.testing.openstack import Fault
from tests.clouds import nova_group, nova_on
from tests.docs.places import CLOUD
from tests.docs.plain import UUID
from tests.docs.stage import Stage
from tests.docs.steps import Step

#: What "poolmgr check" is shown to find wrong, and what it is not.
_BAD = """\
[nova]
cloud = mycloud
image = tinny
networks = privat
security_groups = lb
key_name = ops
server_group = spread
user_data = boot.sh
availability_zones = az9
floating_network = private
"""


class NovaStage(Stage):
    """A cloud that is configured by the files that the page shows."""

    configured: ClassVar[bool] = False

    def prepare(self) -> None:
        """See :class:`Stage`."""
        super().prepare()
        good = nova_group(CLOUD)
        for name in ("poolmgr.conf", "reader.conf"):
            self.write(self.folder / name, good)
        self.write(self.folder / "bad.conf", _BAD)
        self.write(
            self.folder / "misspelt.conf", good.replace("networks", "networkz")
        )

    def before(self, step: Step) -> None:
        """The cloud is what makes it say what is shown."""
        self.cloud.clear_faults()
        if "--os-cloud" in step.command or "misspelt" in step.command:
            self._fault("GET", "/networks", 200, self._one_network(), times=1)
        for shown in step.shown.splitlines():
            line = shown.removeprefix("poolmgr: ")
            if refusal := re.match(
                r"Nova answered (\d+) to POST .*?: (.*)", line
            ):
                self._refuse(int(refusal[1]), refusal[2])
            elif refusal := re.match(r"Nova: (Quota .*)", line):
                self._refuse(403, refusal[1])
            elif refusal := re.match(r"Neutron: (Quota .*)", line):
                error = {"type": "OverQuota", "message": refusal[1]}
                self._fault(
                    "POST", "/floatingips", 409, {"NeutronError": error}
                )
        for uuid in UUID.finditer(step.command):
            if self.real(uuid[0]) == uuid[0]:
                self._build(uuid[0])

    def instead(self, step: Step, command: str) -> None:
        """What OpenStack's client would do."""
        if found := re.search(r"server set --property (\w+)=(\w+)", command):
            name = command.split()[-1]
            (server,) = (s for s in self.cloud.servers if s["name"] == name)
            answer = self.cloud.connect().compute.post(
                f"/servers/{server['id']}/metadata",
                json={"metadata": {found[1]: found[2]}},
            )
            assert answer.status_code == 200

    def _build(self, uuid: str) -> None:
        """A device that the page knows from elsewhere."""
        with nova_on(self.cloud) as driver, PoolManager(driver) as manager:
            made = str(manager.execute("BUILD_DEVICE")["name"])
        self.bind(uuid, UUID.findall(made)[0])

    def _refuse(self, status: int, message: str) -> None:
        error = {"code": status, "message": message}
        self._fault("POST", "/servers", status, {"forbidden": error})

    def _fault(
        self,
        method: str,
        path: str,
        status: int,
        body: Any,
        times: int | None = None,
    ) -> None:
        self.cloud.fault(
            Fault(
                method=method, path=path, status=status, body=body, times=times
            )
        )

    def _one_network(self) -> Any:
        """The project's networks, as if there was one."""
        answer = self.cloud.connect().network.get("/networks")
        networks = answer.json()["networks"]
        return {"networks": [n for n in networks if n["name"] == "private"]}
