"""The examples of doc/source/testing.rst."""

import pytest
from keystoneauth1.exceptions import ConnectFailure
from openstack.compute.v2.server import Server
from openstack.connection import Connection
from openstack.exceptions import ForbiddenException

from poolmgr.testing.openstack import Fault, LoopbackCloud


def create(cloud: LoopbackCloud, connection: Connection) -> Server:
    """Request a server with resources that every loopback cloud has."""
    return connection.compute.create_server(
        name="lb-1",
        image_id=cloud.ids["tiny"],
        flavor_id=cloud.ids["m1.nano"],
        networks=[{"uuid": cloud.ids["private"]}],
    )


# begin: context
def test_a_server_boots() -> None:
    with LoopbackCloud(boot_time=0.1) as cloud:
        connection = cloud.connect()
        server = create(cloud, connection)
        server = connection.compute.wait_for_server(server, interval=0.05)

        assert server.status == "ACTIVE"
        assert cloud.count("POST", "compute", "/servers") == 1


# end: context
# begin: time
def test_a_server_is_active_after_its_boot_time() -> None:
    with LoopbackCloud(boot_time=60) as cloud:
        connection = cloud.connect()
        server = create(cloud, connection)
        assert connection.compute.get_server(server).status == "BUILD"

        cloud.advance(60)

        assert connection.compute.get_server(server).status == "ACTIVE"


# end: time
# begin: fault
def test_a_server_is_created_although_the_answer_is_lost(
    loopback_cloud: LoopbackCloud,
) -> None:
    connection = loopback_cloud.connect()
    loopback_cloud.fault(
        Fault(method="POST", path="/servers", reset=True, after=True)
    )

    with pytest.raises(ConnectFailure):
        create(loopback_cloud, connection)

    (server,) = loopback_cloud.servers
    assert server["name"] == "lb-1"


# end: fault
# begin: settings
@pytest.mark.parametrize("loopback_cloud", [{"instances": 0}], indirect=True)
def test_an_exhausted_quota_refuses_a_server(
    loopback_cloud: LoopbackCloud,
) -> None:
    with pytest.raises(ForbiddenException):
        create(loopback_cloud, loopback_cloud.connect())


# end: settings
