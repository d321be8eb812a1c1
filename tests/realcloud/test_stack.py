"""The real cloud behaves as the driver's tests assume."""

import time
from collections.abc import Callable
from typing import Any

import openstack
import pytest
from openstack.connection import Connection

from tests.realcloud.conftest import RealCloud

TIMEOUT = 300.0


def create(
    real_cloud: RealCloud, cloud: Connection, name: str, **more: Any
) -> Any:
    """Request a complete server."""
    mine = {"project_id": cloud.current_project_id}
    (network,) = cloud.network.networks(name=real_cloud.network, **mine)
    group = cloud.compute.find_server_group(real_cloud.server_group)
    flavor = cloud.compute.find_flavor(more.pop("flavor", real_cloud.flavor))
    image = cloud.image.find_image(real_cloud.image)
    assert group
    assert flavor
    assert image
    return cloud.compute.create_server(
        name=name,
        image_id=image.id,
        flavor_id=flavor.id,
        networks=[{"uuid": network.id}],
        key_name=real_cloud.key,
        security_groups=[{"name": real_cloud.security_group}],
        scheduler_hints={"group": group.id},
        **more,
    )


def wait_for_boot(cloud: Connection, server: Any) -> Any:
    """Wait until a server is active or has failed."""
    return until(
        lambda: cloud.compute.get_server(server.id),
        lambda server: server.status != "BUILD",
    )


def until(get: Callable[[], Any], test: Callable[[Any], bool]) -> Any:
    """Return the first result that passes a test."""
    end = time.monotonic() + TIMEOUT
    while not test(result := get()):
        assert time.monotonic() < end, result
        time.sleep(0.2)
    return result


def test_a_server_boots_and_gets_an_address(
    real_cloud: RealCloud, swept: str
) -> None:
    cloud = real_cloud.connect()
    server = wait_for_boot(cloud, create(real_cloud, cloud, f"{swept}1"))
    assert server.status == "ACTIVE"
    assert server.addresses[real_cloud.network][0]["addr"].startswith("10.20.")


def test_a_boot_takes_the_configured_time(
    real_cloud: RealCloud, swept: str
) -> None:
    cloud = real_cloud.connect()
    real_cloud.set_knob("boot_delay", "100-110")
    server = create(
        real_cloud, cloud, f"{swept}1", metadata={"testcloud_delay": "2"}
    )
    start = time.monotonic()
    assert wait_for_boot(cloud, server).status == "ACTIVE"
    assert 2.0 <= time.monotonic() - start < 100.0


def test_a_boot_fails_with_the_configured_text(
    real_cloud: RealCloud, swept: str
) -> None:
    cloud = real_cloud.connect()
    server = create(
        real_cloud,
        cloud,
        f"{swept}1",
        metadata={"testcloud_fail": "the disk is on fire"},
    )
    server = wait_for_boot(cloud, server)
    assert server.status == "ERROR"
    assert "the disk is on fire" in server.fault["message"]


def test_no_host_fits_the_oversized_flavor(
    real_cloud: RealCloud, swept: str
) -> None:
    cloud = real_cloud.connect()
    flavor = real_cloud.absurd_flavor
    server = create(real_cloud, cloud, f"{swept}1", flavor=flavor)
    server = wait_for_boot(cloud, server)
    assert server.status == "ERROR"
    assert "No valid host" in server.fault["message"]


def test_a_floating_ip_is_active_while_it_is_attached(
    real_cloud: RealCloud, swept: str
) -> None:
    cloud = real_cloud.connect()
    server = wait_for_boot(cloud, create(real_cloud, cloud, f"{swept}1"))
    (port,) = cloud.network.ports(device_id=server.id)
    public = cloud.network.find_network(real_cloud.external_network)
    assert public
    address = cloud.network.create_ip(
        floating_network_id=public.id, description=swept
    )
    floating_ip = address.floating_ip_address
    assert floating_ip.startswith("198.18.")

    def get_status() -> str:
        return str(cloud.network.get_ip(address).status)

    assert get_status() == "DOWN"
    cloud.network.update_ip(address, port_id=port.id)
    until(get_status, lambda status: status == "ACTIVE")
    until(
        lambda: cloud.compute.get_server(server.id).addresses,
        lambda addresses: floating_ip in str(addresses),
    )
    cloud.network.update_ip(address, port_id=None)
    until(get_status, lambda status: status == "DOWN")


def test_the_small_project_has_a_small_quota(
    real_cloud: RealCloud, swept: str
) -> None:
    cloud = real_cloud.connect("testcloud-small")
    for number in range(2):
        create(real_cloud, cloud, f"{swept}{number}")
    with pytest.raises(openstack.exceptions.ForbiddenException) as refused:
        create(real_cloud, cloud, f"{swept}2")
    assert "Quota exceeded for instances" in str(refused.value)

    public = cloud.network.find_network(real_cloud.external_network)
    assert public
    new = {"floating_network_id": public.id, "description": swept}
    cloud.network.create_ip(**new)
    with pytest.raises(openstack.exceptions.ConflictException) as refused_ip:
        cloud.network.create_ip(**new)
    assert "floatingip" in str(refused_ip.value)


def test_short_lived_tokens_expire(real_cloud: RealCloud) -> None:
    session = real_cloud.connect("testcloud-short").session
    url = session.get_endpoint(service_type="network", interface="public")
    token = {"X-Auth-Token": session.get_token()}

    def get_status() -> int:
        answer = session.get(
            f"{url}/v2.0/networks",
            headers=token,
            authenticated=False,
            raise_exc=False,
        )
        return int(answer.status_code)

    assert get_status() == 200
    until(get_status, lambda status: status == 401)
