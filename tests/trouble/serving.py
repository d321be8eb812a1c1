"""Scenes: workers without jobs, jobs without answers, stopping."""

import json
import signal
import socket

from tests.batches import BUILD, running, submit
from tests.monitoring.watched import get
from tests.peers import black_hole
from tests.polling import until
from tests.processes import Process
from tests.trouble.scenes import scene
from tests.trouble.stage import Stage


@scene("not reached: Connection refused")
def refused(stage: Stage) -> str:
    return stage.log(stage.at(stage.dead_address()), "not reached")


@scene("not reached: Name or service not known")
def no_such_host(stage: Stage) -> str:
    return stage.log(stage.at("gearman-1.example.invalid:1"), "not reached")


@scene("not reached: not connected within ... s")
def no_packet(stage: Stage) -> str:
    with black_hole() as server:
        short = "[gearman]\nconnect_timeout = 0.3\n"
        return stage.log(stage.at(str(server), short), "not reached")


@scene("lost: no sign of life for ... s")
def hung(stage: Stage) -> str:
    server = stage.job_server()
    options = stage.at(str(server.address), "[gearman]\nheartbeat = 0.2\n")

    def stop(process: Process) -> None:
        process.wait_for("registered")
        server.signal(signal.SIGSTOP)

    return stage.log(options, "lost", stop)


@scene("lost: closed by the job server")
def restarted(stage: Stage) -> str:
    server = stage.job_server()

    def restart(process: Process) -> None:
        process.wait_for("registered")
        server.restart()

    return stage.log(stage.at(str(server.address)), "lost", restart)


@scene("Connection refused; start gearmand there")
def status_down(stage: Stage) -> str:
    return stage.run(*stage.at(stage.dead_address()), "status")


@scene("job H:...: no answer within ... s")
def nobody_answers(stage: Stage) -> str:
    options = stage.at(str(stage.job_server().address))
    message = json.dumps(BUILD)
    return stage.run(*options, "submit", "--timeout", "3", message)


@scene("no job server reached:")
def nobody_takes(stage: Stage) -> str:
    options = stage.at(stage.dead_address())
    return stage.run(*options, "submit", json.dumps(BUILD))


def submitted(stage: Stage, message: str) -> str:
    """Return what client and worker print about a failed job."""
    options = stage.at(str(stage.job_server().address))
    process = stage.worker(*options)
    process.wait_for("registered")
    output = stage.run(*options, "submit", message)
    return output + process.wait_for("outcome=FAIL")


@scene("job failed; see the worker's log,")
def bare_fail(stage: Stage) -> str:
    message = {"action": "DELETE_DEVICE", "name": "libra-1"}
    return submitted(stage, json.dumps(message))


@scene("the payload is not JSON:")
def no_json(stage: Stage) -> str:
    return submitted(stage, "{'action': 'BUILD_IP'}")


@scene("unknown action 'BUILD_DEVISE'; known are")
def unknown_action(stage: Stage) -> str:
    return submitted(stage, '{"action": "BUILD_DEVISE"}')


@scene("'ip' must be an IP address")
def wrong_field(stage: Stage) -> str:
    message = {"action": "ASSIGN_IP", "ip": "300.1.1.1", "name": "libra-1"}
    return submitted(stage, json.dumps(message))


@scene("the time to drain is up:", "given up because poolmgr is stopping")
def drained_late(stage: Stage) -> str:
    server = stage.job_server().address
    text = "[fake]\nboot_time = 3600\n[worker]\ndrain_timeout = 0.3\n"
    process = stage.worker(*stage.at(str(server), text))
    process.wait_for("registered")
    submit(server, BUILD)
    until(lambda: running(server) == 1)
    process.signal(signal.SIGTERM)
    process.wait_for("outcome=FAIL")
    assert process.exit_code() == 3
    return "".join(process.lines)


@scene("Fatal Python error: Aborted")
def hangs(stage: Stage) -> str:
    options = stage.at(str(stage.job_server().address))
    process = stage.worker(*options, PYTHONFAULTHANDLER="1")
    process.wait_for("registered")
    process.signal(signal.SIGABRT)
    assert process.exit_code() == -signal.SIGABRT
    log = "".join(process.lines)
    assert "Current thread" in log
    return log


def pages(stage: Stage, port: int, words: str, **env: str) -> Process:
    """Run a worker with its pages until it has logged some words."""
    text = f"[monitoring]\nport = {port}\n"
    options = stage.at(str(stage.job_server().address), text)
    process = stage.worker(*options, OS_MONITORING__ENABLED="true", **env)
    process.wait_for(words)
    return process


@scene("status page and metrics disabled: cannot listen on 127.0.0.1:")
def port_taken(stage: Stage) -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        return "".join(pages(stage, port, "registered").lines)


@scene("not served under the name 'worker-1.example.com:9473'")
def other_name(stage: Stage) -> str:
    process = pages(stage, 0, "registered")
    (line,) = (x for x in process.lines if "status page" in x)
    port = int(line.rstrip("/\n").rpartition(":")[2])
    return get(port, Host="worker-1.example.com:9473").body
