"""The command line and the worker on OpenStack."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.jobservers import JobServerProcess, gearmand
from tests.processes import Process, poolmgr

SETTINGS = {
    "OS_NOVA__IMAGE": "tiny",
    "OS_NOVA__FLAVOR": "m1.nano",
    "OS_NOVA__NETWORKS": "private",
}


@pytest.fixture
def cloud() -> Iterator[LoopbackCloud]:
    with LoopbackCloud(boot_time=0.2) as cloud:
        yield cloud


@pytest.fixture
def here(cloud: LoopbackCloud, tmp_path: Path) -> dict[str, str]:
    """The environment in which the cloud's name is "loopback"."""
    path = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
    return {**SETTINGS, "OS_CLIENT_CONFIG_FILE": str(path)}


def shown(*args: str, **environment: str) -> Any:
    done = poolmgr(
        "--os-cloud", "loopback", *args, "-f", "json", **environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_command_works_on_openstack(
    cloud: LoopbackCloud, here: dict[str, str]
) -> None:
    device = shown("build-device", **here)
    ip = shown("build-ip", **here)
    name, address = device["name"], ip["ip"]
    shown("assign-ip", address, name, **here)

    (listed,) = shown("device", "list", **here)
    assert (listed["Name"], listed["Status"]) == (name, "active")
    assert listed["Address"] == address
    (listed,) = shown("ip", "list", **here)
    assert (listed["Address"], listed["Attached to"]) == (address, name)

    shown("remove-ip", address, name, **here)
    shown("delete-ip", address, **here)
    shown("delete-device", name, **here)
    assert cloud.servers == []
    assert cloud.floating_ips == []


#: What a server, and a floating IP, may have in place of what it should.
ODD_SERVERS: tuple[dict[str, Any], ...] = (
    {"created": "yesterday"},
    {"metadata": {"poolmgr_pool": "libra", "poolmgr_state": "on-loan"}},
    {"addresses": {}},
    {"status": "ERROR", "fault": None},
    {"status": "ERROR"},
    {"status": "UNKNOWN", "addresses": {}},
    {"status": "SHUTOFF"},
    {"OS-EXT-STS:task_state": "deleting"},
)
ODD_IPS: tuple[dict[str, Any], ...] = (
    {"port_id": "gone", "port_details": None},
    {"port_id": None},
    {"description": None},
    {"description": "poolmgr pool=libra state=on-loan taken=x"},
    {"created_at": None},
)


def varied(
    thing: dict[str, Any], odd: tuple[dict[str, Any], ...], **more: str
) -> list[dict[str, Any]]:
    """The thing, and others like it but for what is odd.

    :param more: values in which they differ; "{}" is their number
    """
    made = [thing]
    for number, changes in enumerate(odd, start=1):
        own = {name: value.format(number) for name, value in more.items()}
        made.append({**thing, **own, **changes})
    return made


@pytest.mark.parametrize("format_", ["table", "json", "csv"])
def test_odd_entries_are_shown_and_hide_no_other(
    cloud: LoopbackCloud, here: dict[str, str], format_: str
) -> None:
    shown("build-device", **here)
    shown("build-ip", **here)
    id_ = "00000000-0000-0000-0000-0000000000{:02}"
    servers = varied(cloud.servers[0], ODD_SERVERS, id=id_, name="libra-{}")
    address = "198.18.9.{}"
    ips = varied(
        cloud.floating_ips[0], ODD_IPS, id=id_, floating_ip_address=address
    )
    for path, body in (
        ("/servers/detail", {"servers": servers}),
        ("/floatingips", {"floatingips": ips}),
    ):
        cloud.fault(Fault("GET", path, status=200, body=body, times=None))

    for kind, things in (("device", servers), ("ip", ips)):
        order = ("--sort-column", "Age", "--sort-column", "State")
        done = poolmgr(
            *("--os-cloud", "loopback", kind, "list", "--all"),
            *("-f", format_, *order),
            **here,
        )
        assert done.returncode == 0, done.stderr
        ids = [thing["id"] for thing in things]
        assert [id_ for id_ in ids if id_ not in done.stdout] == []


def test_check_shows_ok_for_every_setting(here: dict[str, str]) -> None:
    rows = shown("check", **here)

    assert {row["Setting"]: row["State"] for row in rows} == {
        "cloud": "ok",
        "compute_api_version": "ok",
        "image": "ok",
        "flavor": "ok",
        "networks": "ok",
        "floating_network": "ok",
    }


def test_check_says_so_when_there_is_nothing_to_check() -> None:
    done = poolmgr("--driver", "fake", "check", "-f", "json")

    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert done.stderr == "poolmgr: the driver 'fake' has nothing to check\n"


WRONG = {
    "OS_NOVA__IMAGE": "no-image",
    "OS_NOVA__FLAVOR": "no-flavor",
    "OS_NOVA__NETWORKS": "no-network",
    "OS_NOVA__FLOATING_NETWORK": "no-outside",
    "OS_NOVA__KEY_NAME": "no-key/../x",
    "OS_NOVA__SECURITY_GROUPS": "pool,no-group",
    "OS_NOVA__SERVER_GROUP": "no-server-group",
    "OS_NOVA__AVAILABILITY_ZONES": "az1,no-zone",
    "OS_NOVA__USER_DATA": "/no/file",
}


def test_check_explains_each_wrong_setting(
    here: dict[str, str],
) -> None:
    done = poolmgr(
        *("--os-cloud", "loopback", "check", "-f", "json"), **{**here, **WRONG}
    )

    assert done.returncode == 1
    problems = {
        row["Setting"]: row["Problem"]
        for row in json.loads(done.stdout)
        if row["State"] == "wrong"
    }
    for variable in WRONG:
        setting = variable.removeprefix("OS_NOVA__").lower()
        assert f"[nova] {setting}" in problems.pop(setting)
    assert not problems


def test_a_worker_does_not_start_when_a_setting_is_wrong(
    here: dict[str, str],
) -> None:
    done = poolmgr(
        *("--os-cloud", "loopback", "--gearman-server", "127.0.0.1:9"),
        "worker",
        **{**here, **WRONG},
    )

    assert done.returncode == 1
    # The line of the start comes first.
    _start, *lines = done.stderr.splitlines()
    assert len(lines) == len(WRONG)
    for line in lines:
        assert "ERROR" in line
        assert "[nova] " in line


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("POST", service="identity", status=401, times=None), "login"),
        (Fault(service="compute", status=403, times=None), "403"),
    ],
)
def test_a_worker_does_not_start_on_a_cloud_that_refuses_it(
    cloud: LoopbackCloud, here: dict[str, str], fault: Fault, words: str
) -> None:
    cloud.fault(fault)

    done = poolmgr("--os-cloud", "loopback", "worker", **here)

    assert done.returncode == 1
    (start, why) = done.stderr.splitlines()
    assert "poolmgr 0.1.0 starts" in start
    assert words in why


LIBRA_CFG = """\
[mgm]
az = 3
node_basename = libra_stg_haproxy
nova_auth_url = {keystone}/v2.0/
nova_user = {username}
nova_pass = {password}
nova_tenant = {project_name}
nova_region = RegionOne
nova_keyname = poolkey
nova_secgroup = pool
nova_image = {image}
nova_image_size = m1.nano
nova_az_name = az2
nova_net_id = {network}
nova_insecure = true
nova_bypass_url = {url}/compute/v1.1/
nova_timeout = 5

[gearman]
servers = {server}
"""


@pytest.fixture
def job_server() -> Iterator[JobServerProcess]:
    with gearmand() as server:
        yield server


def test_an_old_libra_cfg_runs_a_worker(
    cloud: LoopbackCloud, tmp_path: Path, job_server: JobServerProcess
) -> None:
    path = tmp_path / "libra.cfg"
    path.touch(mode=0o600)
    path.write_text(
        LIBRA_CFG.format(
            **cloud.credentials,
            keystone=cloud.auth_url.removesuffix("/v3"),
            url=cloud.url,
            image=cloud.ids["tiny"],
            network=cloud.ids["private"],
            server=job_server.address,
        )
    )
    worker = Process(["--config-file", str(path), "worker"])
    try:
        server = ["--gearman-server", str(job_server.address)]
        done = poolmgr(*server, "submit", '{"action": "BUILD_DEVICE"}')
    finally:
        worker.end()

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["response"] == "PASS"
    assert answer["az"] == "3"
    image = cloud.ids["tiny"]
    assert answer["type"] == f"basename: libra_stg_haproxy, image: {image}"
    (made,) = cloud.servers
    assert made["name"].startswith("libra-stg-haproxy-")
    assert made["key_name"] == "poolkey"
    assert made["OS-EXT-AZ:availability_zone"] == "az2"
    assert cloud.credentials["password"] not in "".join(worker.lines)
