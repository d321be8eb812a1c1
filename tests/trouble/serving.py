"""Workers that do not start or get no jobs, jobs without answers, stopping."""

import json
import re
import signal
import socket
from typing import Any

from poolmgr.testing.openstack import Fault
from tests.batches import BUILD, running, submit
from tests.docs.stage import Stage, scene
from tests.environments import install_beside, visible
from tests.monitoring.watched import get
from tests.notify_sockets import notify_socket
from tests.nova.config_folders import changed_token
from tests.peers import black_hole
from tests.polling import until

COUNT = """
    {imports}
    from poolmgr.actions.base import Action, NoFields

    class Count(Action[NoFields]):
        '''Count.'''
"""


@scene("[nova]: no cloud is configured")
def no_cloud(stage: Stage) -> str:
    return stage.run("worker")


@scene("Cloud mycluod was not found.")
def cloud_unknown(stage: Stage) -> str:
    stage.cloud()
    return stage.run("--os-cloud", "mycluod", "worker")


@scene("the cloud refuses the login: Keystone answered 401")
def login_refused(stage: Stage) -> str:
    stage.cloud()
    text = (stage.folder / "clouds.yaml").read_text()
    wrong = re.sub(r'("password": ")\w+', r"\1wrong-password", text)
    stage.write("clouds.yaml", wrong)
    return stage.run("worker")


@scene("Expecting to find domain in project")
def login_without_a_domain(stage: Stage) -> str:
    words = "Expecting to find domain in project. The server could not comply."
    body: Any = {"error": {"code": 400, "message": words}}
    stage.cloud().fault(
        Fault("POST", service="identity", status=400, body=body, times=None)
    )
    return stage.run("worker")


@scene("the login is for no project; set project_name")
def login_without_a_project(stage: Stage) -> str:
    cloud = stage.cloud()
    cloud.fault(changed_token(cloud, project=None, catalog=[]))
    return stage.run("worker")


@scene("Version 2.200 is not supported by the API")
def microversion_unknown(stage: Stage) -> str:
    stage.cloud()
    stage.configure(compute_api_version="2.200")
    return stage.run("worker")


@scene("line 2 has no effect: did you mean [worker] long_jobs?")
def unknown_option(stage: Stage) -> str:
    stage.fake("[worker]\nlong_job = 10\n")
    return "".join(stage.working()[0].lines)


@scene(
    "[poolmgr] basename",
    "'libra' -> 'lb' needs a restart, keeping the old value",
)
def reloaded(stage: Stage) -> str:
    stage.fake("[worker]\nlong_jobs = 500\n")
    process, _server = stage.working()
    before = len(process.lines)
    stage.write(
        "poolmgr.conf", "[worker]\nlong_jobs = 200\n[poolmgr]\nbasename = lb\n"
    )
    process.signal(signal.SIGHUP)
    until(lambda: len(process.lines) >= before + 2)
    return "".join(
        line.partition("poolmgr.config.reload: ")[2]
        for line in process.lines[before:]
    )


def installed(stage: Stage, *names: str, imports: str = "") -> dict[str, str]:
    """Install packages with the action COUNT; return the environment."""
    folders = [
        install_beside(
            stage.folder,
            name,
            COUNT.format(imports=imports),
            poolmgr__actions=f"COUNT = {name}:Count",
        )
        for name in names
    ]
    stage.fake()
    stage.dead_job_server()
    return visible(*folders)


@scene("action 'COUNT' is refused: it is provided by")
def two_of_a_name(stage: Stage) -> str:
    variables = installed(stage, "one", "two")
    process = stage.worker("is refused", **variables)
    assert process.exit_code() == 1
    return "".join(process.lines)


@scene("action 'COUNT' cannot be loaded: ModuleNotFoundError:")
def broken_plugin(stage: Stage) -> str:
    variables = installed(stage, "one", imports="import nothing_of_this_name")
    return "".join(stage.worker("cannot be loaded", **variables).lines)


@scene("not reached: Connection refused")
def refused(stage: Stage) -> str:
    stage.fake()
    stage.dead_job_server()
    return "".join(stage.worker("not reached").lines)


@scene("not reached: not connected within ... s")
def no_packet(stage: Stage) -> str:
    stage.fake("[gearman]\nconnect_timeout = 0.3\n")
    with black_hole() as server:
        stage.use(server)
        return "".join(stage.worker("not reached").lines)


@scene("lost: no sign of life for ... s")
def hung(stage: Stage) -> str:
    stage.fake("[gearman]\nheartbeat = 0.2\n")
    server = stage.job_server()
    process = stage.worker()
    server.signal(signal.SIGSTOP)
    return process.wait_for("lost")


@scene("job H:...: no answer within ... s")
def nobody_answers(stage: Stage) -> str:
    stage.job_server()
    return stage.run("submit", "--timeout", "3", json.dumps(BUILD))


def submitted(stage: Stage, **message: str) -> str:
    """Return what client and worker print about a failed job."""
    stage.fake()
    process, _server = stage.working()
    output = stage.run("submit", json.dumps(message))
    return output + process.wait_for("outcome=FAIL")


@scene("job failed; see the worker's log,")
def bare_fail(stage: Stage) -> str:
    return submitted(stage, action="DELETE_DEVICE", name="libra-1")


@scene("unknown action 'BUILD_DEVISE'; known are")
def unknown_action(stage: Stage) -> str:
    return submitted(stage, action="BUILD_DEVISE")


@scene("the time to drain is up:", "given up because poolmgr is stopping")
def drained_late(stage: Stage) -> str:
    stage.fake("[worker]\ndrain_timeout = 0.3\n", boot_time=3600)
    process, server = stage.working()
    submit(server, BUILD)
    until(lambda: running(server) == 1)
    process.signal(signal.SIGTERM)
    process.wait_for("outcome=FAIL")
    assert process.exit_code() == 3
    return "".join(process.lines)


@scene("Fatal Python error: Aborted")
def hangs(stage: Stage) -> str:
    stage.fake()
    stage.job_server()
    process = stage.worker(PYTHONFAULTHANDLER="1")
    process.signal(signal.SIGABRT)
    assert process.exit_code() == -signal.SIGABRT
    log = "".join(process.lines)
    assert "Current thread" in log
    return log


def pages(stage: Stage, port: int) -> list[str]:
    """Return the log of a worker with pages."""
    stage.fake()
    stage.job_server()
    variables = {"ENABLED": "true", "PORT": str(port)}
    return stage.worker(
        **{f"OS_MONITORING__{key}": v for key, v in variables.items()}
    ).lines


@scene("status page and metrics disabled: cannot listen on 127.0.0.1:")
def port_taken(stage: Stage) -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return "".join(pages(stage, taken.getsockname()[1]))


@scene("not served under the name 'worker-1.example.com:9473'")
def other_name(stage: Stage) -> str:
    (line,) = (x for x in pages(stage, 0) if "status page" in x)
    port = int(line.rstrip("/\n").rpartition(":")[2])
    return get(port, Host="worker-1.example.com:9473").body


@scene("Status:")
def status_for_systemd(stage: Stage) -> str:
    stage.fake()
    stage.use(*(stage.job_server().address for _ in range(2)))
    with notify_socket(stage.folder) as manager:
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
