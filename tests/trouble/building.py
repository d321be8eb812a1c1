"""Builds that fail or are slow."""

from typing import Any

from poolmgr.testing.openstack import Fault
from tests.batches import BUILD, BUILD_IP, ask, submit
from tests.docs.stage import Stage, scene

NO_HOST = Fault.server_error("No valid host was found.", times=None)


def saying(method: str, path: str, status: int, words: str) -> Fault:
    """Return a fault that makes Nova give an answer from now on."""
    body: Any = {"fault": {"code": status, "message": words}}
    return Fault(method, path, status=status, body=body, times=None)


@scene("Nova: Quota exceeded for instances:")
def quota(stage: Stage) -> str:
    stage.cloud(instances=0)
    return stage.run("build-device")


@scene("Neutron: Quota exceeded for resources: ['floatingip']")
def quota_of_ips(stage: Stage) -> str:
    stage.cloud(floating_ips=0)
    return stage.run("build-ip")


@scene("No more IP addresses available on network")
def no_addresses_left(stage: Stage) -> str:
    stage.cloud(floating_range="198.18.0.0/30")
    stage.run("build-ip")
    return stage.run("build-ip")


@scene("circuit open: creating devices:")
def quota_in_a_worker(stage: Stage) -> str:
    stage.cloud(instances=0)
    process, server = stage.working()
    submit(server, BUILD)
    return process.wait_for("circuit open")


@scene("Nova answered 400 to POST /servers: Image not found.")
def image_gone(stage: Stage) -> str:
    cloud = stage.cloud()
    process, server = stage.working()
    cloud.fault(saying("POST", "/servers", 400, "Image not found."))
    ask(server, BUILD)
    return process.wait_for("outcome=FAIL")


@scene("action=", "failed: No valid host was found.")
def no_host(stage: Stage) -> str:
    stage.cloud().fault(NO_HOST)
    process, server = stage.working()
    ask(server, BUILD)
    return process.wait_for("outcome=FAIL")


@scene("circuit open: building devices:", "because the last ones failed:")
def no_host_again_and_again(stage: Stage) -> str:
    stage.cloud().fault(NO_HOST)
    stage.configure("[poolmgr]\nquota_wait = 1\n")
    process, server = stage.working()
    submit(server, *[BUILD] * 5)()
    ask(server, BUILD)
    process.wait_for("the last ones failed")
    return "".join(process.lines)


@scene("to boot (it is building): not done within ... s")
def boots_too_slowly(stage: Stage) -> str:
    stage.fake("[poolmgr]\nlong_timeout = 3\n", boot_time=3600)
    return stage.run("build-device")


@scene("to boot (it is active, but without an address): not done within ... s")
def boots_without_address(stage: Stage) -> str:
    stage.cloud()
    text = "[poolmgr]\nlong_timeout = 3\n"
    stage.configure(text, address_type="floating")
    return stage.run("build-device")


@scene("was not deleted:")
def not_deleted(stage: Stage) -> str:
    cloud = stage.cloud()
    cloud.fault(NO_HOST)
    cloud.fault(saying("DELETE", "/servers/[^/]+", 403, "not allowed"))
    return stage.run("build-device")


@scene("Nova answered 403 to POST /servers: Policy doesn't allow")
def role_too_small(stage: Stage) -> str:
    words = "Policy doesn't allow os_compute_api:servers:create."
    stage.cloud().fault(saying("POST", "/servers", 403, words))
    return stage.run("build-device")


@scene("reason=the cloud refuses the login:")
def login_refused_later(stage: Stage) -> str:
    cloud = stage.cloud()
    process, server = stage.working()
    words = "The request you have made requires authentication."
    body: Any = {"error": {"code": 401, "message": words}}
    cloud.expire_tokens()
    cloud.fault(
        Fault("POST", service="identity", status=401, body=body, times=None)
    )
    ask(server, BUILD_IP)
    return process.wait_for("outcome=FAIL")


@scene("circuit open: reading devices: Nova answered 503")
def cloud_down(stage: Stage) -> str:
    cloud = stage.cloud()
    process, server = stage.working()
    cloud.fault(saying("GET", "/servers/detail", 503, "Service Unavailable"))
    submit(server, *[BUILD] * 6)
    return process.wait_for("circuit open")


@scene("Neutron answered 429")
def too_many_calls(stage: Stage) -> str:
    stage.cloud().fault(Fault(service="network", status=429, times=None))
    stage.configure("[poolmgr]\nshort_timeout = 3\n")
    return stage.run("build-ip")


@scene("request")
def demonstration(stage: Stage) -> str:
    return stage.run("demo")
