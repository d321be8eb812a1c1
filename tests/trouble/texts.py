"""What the pages show of demonstrations, systemd and the state report."""

import signal
from pathlib import Path

from poolmgr import PoolManager
from tests.batches import BUILD, running, submit
from tests.clouds import nova_on
from tests.docs.stage import Stage, scene
from tests.notify_sockets import notify_socket
from tests.polling import until


@scene("request")
def demonstration(stage: Stage) -> str:
    return stage.run("demo")


@scene("poolmgr pool=")
def description(stage: Stage) -> str:
    cloud = stage.cloud()
    with nova_on(cloud) as driver, PoolManager(driver) as manager:
        manager.execute("BUILD_IP")
    (ip,) = cloud.floating_ips
    return str(ip["description"])


@scene("Status:")
def status_for_systemd(stage: Stage) -> str:
    stage.fake()
    stage.use(*(stage.job_server().address for _ in range(2)))
    with notify_socket(Path(stage.folder)) as manager:
        stage.worker(NOTIFY_SOCKET=manager.name)
        messages = manager.wait_for("2 of 2 job servers")
    (status,) = (s for s in messages[-1] if s.startswith("STATUS="))
    return f'Status: "{status.removeprefix("STATUS=")}"'


@scene("== running jobs")
def report(stage: Stage) -> str:
    stage.fake("[worker]\nlong_jobs = 2\n", boot_time=3600)
    process, server = stage.working()
    submit(server, *[BUILD] * 3)
    until(lambda: running(server) == 3)

    def waits_for_the_boot() -> bool:
        process.signal(signal.SIGUSR2)
        process.wait_for("end of the state report")
        return any("to boot" in line for line in process.lines)

    until(waits_for_the_boot)
    return "".join(process.lines)
