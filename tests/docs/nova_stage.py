"""The place for the pages on OpenStack."""

import re
from typing import ClassVar

from tests.clouds import nova_group
from tests.docs.places import CLOUD
from tests.docs.stage import Stage
from tests.docs.steps import Step


class NovaStage(Stage):
    """A cloud that is configured by the files that the page shows."""

    configured: ClassVar[bool] = False

    def prepare(self) -> None:
        """See :class:`Stage`."""
        super().prepare()
        self.write(self.folder / "poolmgr.conf", nova_group(CLOUD))

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
