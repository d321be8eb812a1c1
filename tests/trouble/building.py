"""Scenes: builds that fail or are slow."""

from typing import Any

from poolmgr.gearman.endpoint import Address
from poolmgr.testing.openstack import Fault
from tests.batches import ask, submit
from tests.processes import Process
from tests.trouble.scenes import scene
from tests.trouble.stage import FAKE, Stage

BUILD, BUILD_IP = {"action": "BUILD_DEVICE"}, {"action": "BUILD_IP"}
NO_HOST = "No valid host was found."


def by_hand(stage: Stage, *args: str, text: str = "", **nova: object) -> str:
    """Return the output of a command on the stage's cloud."""
    return stage.run("--config-file", stage.config(text, **nova), *args)


def working(
    stage: Stage, text: str = "", **nova: object
) -> tuple[Process, Address]:
    """Run a worker on the stage's cloud; yield it and its job server."""
    server = stage.job_server().address
    config = stage.config(text, **nova)
    process = stage.worker(
        *("--config-file", config, "--gearman-server", str(server))
    )
    process.wait_for("registered")
    return process, server


def saying(status: int, words: str) -> dict[str, Any]:
    """Return a fault that makes Nova give an answer."""
    body = {"fault": {"code": status, "message": words}}
    return {"status": status, "body": body, "times": None}


@scene("Nova: Quota exceeded for instances:")
def quota(stage: Stage) -> str:
    stage.cloud(instances=0)
    return by_hand(stage, "build-device")


@scene("Neutron: Quota exceeded for resources: ['floatingip']")
def quota_of_ips(stage: Stage) -> str:
    stage.cloud(floating_ips=0)
    return by_hand(stage, "build-ip")


@scene("No more IP addresses available on network")
def no_addresses_left(stage: Stage) -> str:
    stage.cloud(floating_range="198.18.0.0/30")
    by_hand(stage, "build-ip")
    return by_hand(stage, "build-ip")


@scene("circuit open: creating devices:")
def quota_in_a_worker(stage: Stage) -> str:
    cloud = stage.cloud(instances=0)
    process, server = working(stage)
    answers = submit(server, BUILD)
    process.wait_for("circuit open")
    cloud.set_quota(instances=5)
    process.wait_for("circuit closed")
    answers()
    return "".join(process.lines)


@scene("Nova answered 400 to POST /servers: Image not found.")
def image_gone(stage: Stage) -> str:
    cloud = stage.cloud()
    process, server = working(stage)
    answer = saying(400, "Image not found.")
    cloud.fault(Fault("POST", "/servers", **answer))
    ask(server, BUILD)
    return process.wait_for("outcome=FAIL")


@scene("failed: No valid host was found.")
def no_host(stage: Stage) -> str:
    stage.cloud().fault(Fault.server_error(NO_HOST, times=None))
    return by_hand(stage, "build-device")


@scene("circuit open: building devices:", "because the last ones failed:")
def no_host_again_and_again(stage: Stage) -> str:
    stage.cloud().fault(Fault.server_error(NO_HOST, times=None))
    process, server = working(stage, "[poolmgr]\nquota_wait = 1\n")
    submit(server, *[BUILD] * 5)()
    ask(server, BUILD)
    process.wait_for("the last ones failed")
    return "".join(process.lines)


@scene("to boot (it is building): not done within ... s")
def boots_too_slowly(stage: Stage) -> str:
    text = "[fake]\nboot_time = 3600\n[poolmgr]\nlong_timeout = 3\n"
    return stage.run(
        "--config-file", stage.config(text), *FAKE, "build-device"
    )


@scene("to boot (it is active, but without an address): not done within ... s")
def boots_without_address(stage: Stage) -> str:
    stage.cloud()
    text = "[poolmgr]\nlong_timeout = 3\n"
    return by_hand(stage, "build-device", text=text, address_type="floating")


@scene("was not deleted:")
def not_deleted(stage: Stage) -> str:
    cloud = stage.cloud()
    cloud.fault(Fault.server_error(NO_HOST, times=None))
    answer = saying(403, "not allowed")
    cloud.fault(Fault("DELETE", "/servers/[^/]+", **answer))
    return by_hand(stage, "build-device")


@scene("Nova answered 403 to POST /servers: Policy doesn't allow")
def role_too_small(stage: Stage) -> str:
    words = (
        "Policy doesn't allow os_compute_api:servers:create to be performed."
    )
    stage.cloud().fault(Fault("POST", "/servers", **saying(403, words)))
    return by_hand(stage, "build-device")


@scene("reason=the cloud refuses the login:")
def login_refused_later(stage: Stage) -> str:
    cloud = stage.cloud()
    process, server = working(stage)
    words = "The request you have made requires authentication."
    error = {"code": 401, "message": words, "title": "Unauthorized"}
    answer = {**saying(401, words), "body": {"error": error}}
    cloud.expire_tokens()
    cloud.fault(Fault("POST", service="identity", **answer))
    ask(server, BUILD_IP)
    return process.wait_for("outcome=FAIL")


@scene("circuit open: reading devices: Nova answered 503")
def cloud_down(stage: Stage) -> str:
    cloud = stage.cloud()
    process, server = working(stage)
    answer = saying(503, "Service Unavailable")
    cloud.fault(Fault("GET", "/servers/detail", **answer))
    answers = submit(server, *[BUILD] * 6)
    process.wait_for("circuit open")
    cloud.clear_faults()
    process.wait_for("circuit closed")
    answers()
    return "".join(process.lines)


@scene("cannot reach http://...: timed out")
def cloud_slow(stage: Stage) -> str:
    cloud = stage.cloud()
    short = "[poolmgr]\nshort_timeout = 6\n"
    process, server = working(stage, short, call_timeout=1.0)
    cloud.fault(Fault("GET", service="network", hang=30, times=None))
    ask(server, BUILD_IP)
    return process.wait_for("outcome=FAIL")


@scene("Neutron answered 429")
def too_many_calls(stage: Stage) -> str:
    answer = saying(429, "too many requests")
    stage.cloud().fault(Fault(service="network", **answer))
    return by_hand(stage, "build-ip", text="[poolmgr]\nshort_timeout = 3\n")
