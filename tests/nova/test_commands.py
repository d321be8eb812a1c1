"""Tests of the command line and of the worker's start on OpenStack."""

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
def environment(cloud: LoopbackCloud, tmp_path: Path) -> dict[str, str]:
    """Return the environment with the cloud "loopback" in clouds.yaml."""
    path = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
    return {**SETTINGS, "OS_CLIENT_CONFIG_FILE": str(path)}


def json_output(*args: str, **environment: str) -> Any:
    done = poolmgr(
        "--os-cloud", "loopback", *args, "-f", "json", **environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_command_works_on_openstack(
    cloud: LoopbackCloud, environment: dict[str, str]
) -> None:
    device = json_output("build-device", **environment)
    ip = json_output("build-ip", **environment)
    name, address = device["name"], ip["ip"]
    json_output("assign-ip", address, name, **environment)

    (listed,) = json_output("device", "list", **environment)
    assert (listed["Name"], listed["Status"]) == (name, "active")
    assert listed["Address"] == address
    (listed,) = json_output("ip", "list", **environment)
    assert (listed["Address"], listed["Attached to"]) == (address, name)

    json_output("remove-ip", address, name, **environment)
    json_output("delete-ip", address, **environment)
    json_output("delete-device", name, **environment)
    assert cloud.servers == []
    assert cloud.floating_ips == []


#: Unusual fields of servers and of floating IPs.
UNUSUAL_SERVERS: tuple[dict[str, Any], ...] = (
    {"created": "yesterday"},
    {"metadata": {"poolmgr_pool": "libra", "poolmgr_state": "on-loan"}},
    {"addresses": {}},
    {"status": "ERROR", "fault": None},
    {"status": "ERROR"},
    {"status": "UNKNOWN", "addresses": {}},
    {"status": "SHUTOFF"},
    {"OS-EXT-STS:task_state": "deleting"},
)
UNUSUAL_IPS: tuple[dict[str, Any], ...] = (
    {"port_id": "gone", "port_details": None},
    {"port_id": None},
    {"description": None},
    {"description": "poolmgr pool=libra state=on-loan taken=x"},
    {"created_at": None},
)


def with_variants(
    entry: dict[str, Any], unusual: tuple[dict[str, Any], ...], **own: str
) -> list[dict[str, Any]]:
    """Return an entry and its variants.

    :param unusual: the changed fields of each variant
    :param own: fields that differ in each; "{}" becomes its number
    """
    entries = [entry]
    for number, changes in enumerate(unusual, start=1):
        fields = {name: value.format(number) for name, value in own.items()}
        entries.append({**entry, **fields, **changes})
    return entries


@pytest.mark.parametrize("format_", ["table", "json", "csv"])
def test_lists_show_all_entries_when_some_have_unusual_fields(
    cloud: LoopbackCloud, environment: dict[str, str], format_: str
) -> None:
    json_output("build-device", **environment)
    json_output("build-ip", **environment)
    id_ = "00000000-0000-0000-0000-0000000000{:02}"
    servers = with_variants(
        cloud.servers[0], UNUSUAL_SERVERS, id=id_, name="libra-{}"
    )
    address = "198.18.9.{}"
    ips = with_variants(
        cloud.floating_ips[0], UNUSUAL_IPS, id=id_, floating_ip_address=address
    )
    for path, body in (
        ("/servers/detail", {"servers": servers}),
        ("/floatingips", {"floatingips": ips}),
    ):
        cloud.fault(Fault("GET", path, status=200, body=body, times=None))

    for kind, entries in (("device", servers), ("ip", ips)):
        order = ("--sort-column", "Age", "--sort-column", "State")
        done = poolmgr(
            *("--os-cloud", "loopback", kind, "list", "--all"),
            *("-f", format_, *order),
            **environment,
        )
        assert done.returncode == 0, done.stderr
        ids = [entry["id"] for entry in entries]
        assert [id_ for id_ in ids if id_ not in done.stdout] == []


def test_check_shows_ok_for_every_setting(environment: dict[str, str]) -> None:
    rows = json_output("check", **environment)

    assert {row["Setting"]: row["State"] for row in rows} == {
        "cloud": "ok",
        "compute_api_version": "ok",
        "image": "ok",
        "flavor": "ok",
        "networks": "ok",
        "floating_network": "ok",
    }


def test_check_reports_that_a_driver_has_nothing_to_check() -> None:
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
    environment: dict[str, str],
) -> None:
    done = poolmgr(
        *("--os-cloud", "loopback", "check", "-f", "json"),
        **{**environment, **WRONG},
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


def test_a_worker_with_wrong_settings_logs_each_and_exits(
    environment: dict[str, str],
) -> None:
    done = poolmgr(
        *("--os-cloud", "loopback", "--gearman-server", "127.0.0.1:9"),
        "worker",
        **{**environment, **WRONG},
    )

    assert done.returncode == 1
    # The first line is the one of the start.
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
def test_a_worker_refused_by_the_cloud_exits(
    cloud: LoopbackCloud, environment: dict[str, str], fault: Fault, words: str
) -> None:
    cloud.fault(fault)

    done = poolmgr("--os-cloud", "loopback", "worker", **environment)

    assert done.returncode == 1
    (start, error) = done.stderr.splitlines()
    assert "poolmgr 0.1.0 starts" in start
    assert words in error


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
        address = str(job_server.address)
        done = poolmgr(
            "--gearman-server", address, "submit", '{"action": "BUILD_DEVICE"}'
        )
    finally:
        worker.end()

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["response"] == "PASS"
    assert answer["az"] == "3"
    image = cloud.ids["tiny"]
    assert answer["type"] == f"basename: libra_stg_haproxy, image: {image}"
    (server,) = cloud.servers
    assert server["name"].startswith("libra-stg-haproxy-")
    assert server["key_name"] == "poolkey"
    assert server["OS-EXT-AZ:availability_zone"] == "az2"
    assert cloud.credentials["password"] not in "".join(worker.lines)
