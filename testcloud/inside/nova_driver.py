"""Nova's fake virt driver, with boots and deletions that take time or fail.

Besides the knobs, a server's metadata controls its own boot:
``testcloud_delay`` in seconds ("3" or "2-6"), and ``testcloud_fail`` with the
text of the failure.
"""

import os
import time
from pathlib import Path
from typing import Any

from nova import exception
from nova.context import RequestContext
from nova.objects import Instance
from nova.virt import fake

from testcloud.knobs import Knobs, seconds

knobs = Knobs(Path(os.environ["TESTCLOUD_DIR"]) / "knobs.json")


class LoopbackDriver(fake.FakeDriverWithoutFakeNodes):
    """A driver whose host has room for thousands of small servers."""

    vcpus = 5000
    memory_mb = 5_000_000
    local_gb = 5_000_000

    def spawn(
        self,
        context: RequestContext,
        instance: Instance,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Boot a server after its delay, or fail."""
        wishes = instance.metadata
        time.sleep(
            seconds(wishes.get("testcloud_delay") or knobs.get("boot_delay"))
        )
        failure = wishes.get("testcloud_fail") or knobs.get("boot_failure")
        if failure:
            raise exception.BuildAbortException(
                instance_uuid=instance.uuid, reason=failure
            )
        super().spawn(context, instance, *args, **kwargs)

    def destroy(
        self,
        context: RequestContext,
        instance: Instance,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Delete a server after the delay."""
        time.sleep(seconds(knobs.get("delete_delay")))
        super().destroy(context, instance, *args, **kwargs)
