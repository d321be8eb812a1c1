"""The cloud's initial resources: ``python -m testcloud.seed WHAT``.

Uses openstacksdk in the cloud's own environment. Each step checks what exists,
so the next run completes an interrupted one.
"""

import sys
from typing import Any

import openstack
from openstack.connection import Connection

from testcloud.configuration import PASSWORD
from testcloud.location import Location

SERVICES = {
    "placement": ("placement", ""),
    "glance": ("image", ""),
    "neutron": ("network", ""),
    "nova": ("compute", "/v2.1"),
}
#: Name and RAM in MiB. No host has room for the last.
FLAVORS = {"m1.nano": 64, "m1.small": 512, "m1.absurd": 99_999_999}
SUBNETS = {"testcloud": "10.20.0.0/20", "testcloud-small": "10.30.0.0/24"}
PUBLIC_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDWqu3YfyIB4OPBTQKQ6U01VcoLrq0sHMcNe"
    "zi4D1xVb testcloud"
)


def identity(location: Location) -> None:
    """Create the services with users and endpoints, and the projects."""
    cloud: Any = openstack.connect(cloud="testcloud-admin").identity
    service = cloud.find_role("service") or cloud.create_role(name="service")
    admin = cloud.find_role("admin")
    member = cloud.find_role("member") or cloud.create_role(name="member")
    for name, (kind, path) in SERVICES.items():
        _account(cloud, name, "service", admin, service)
        entry = cloud.find_service(name) or cloud.create_service(
            name=name, type=kind
        )
        if not list(cloud.endpoints(service_id=entry.id)):
            cloud.create_endpoint(
                service_id=entry.id,
                interface="public",
                region_id="RegionOne",
                url=location.url(name) + path,
            )
    for name in ("demo", "small"):
        _account(cloud, name, name, member)


def resources(location: Location) -> None:
    """Create flavors, image, networks, quotas and projects' resources."""
    admin = openstack.connect(cloud="testcloud-admin")
    for name, ram in FLAVORS.items():
        if not admin.compute.find_flavor(name):
            admin.compute.create_flavor(name=name, ram=ram, vcpus=1, disk=1)
    if not admin.image.find_image("tiny"):
        admin.image.create_image(
            name="tiny",
            disk_format="raw",
            container_format="bare",
            visibility="public",
            data=bytes(512),
        )
    public = _public_network(admin)
    _quotas(admin)
    for cloud, subnet in SUBNETS.items():
        _belongings(openstack.connect(cloud=cloud), public, subnet)


def _account(cloud: Any, name: str, project_name: str, *roles: Any) -> None:
    project = cloud.find_project(project_name) or cloud.create_project(
        name=project_name, domain_id="default"
    )
    user = cloud.find_user(name) or cloud.create_user(
        name=name, password=PASSWORD, domain_id="default"
    )
    for role in roles:
        cloud.assign_project_role_to_user(project, user, role)


def _public_network(admin: Connection) -> str:
    network = admin.network.find_network("public")
    network = network or admin.network.create_network(
        name="public",
        is_router_external=True,
        is_port_security_enabled=False,
        provider_network_type="flat",
        provider_physical_network="public",
    )
    if not admin.network.find_subnet("public-v4"):
        admin.network.create_subnet(
            name="public-v4",
            network_id=network.id,
            ip_version=4,
            cidr="198.18.0.0/20",
            gateway_ip="198.18.0.1",
            is_dhcp_enabled=False,
        )
    return str(network.id)


def _quotas(admin: Connection) -> None:
    projects: Any = admin.identity
    demo, small = (
        projects.find_project(name, ignore_missing=False).id
        for name in ("demo", "small")
    )
    admin.set_compute_quotas(
        demo,
        instances=2000,
        cores=4000,
        ram=-1,
        key_pairs=100,
        server_groups=100,
        server_group_members=2000,
    )
    admin.set_network_quotas(
        demo,
        floatingip=2000,
        port=5000,
        network=100,
        subnet=100,
        router=100,
        security_group=100,
        security_group_rule=1000,
    )
    admin.set_compute_quotas(small, instances=2, cores=20, ram=20480)
    admin.set_network_quotas(small, floatingip=1, port=20)


def _belongings(cloud: Connection, public: str, cidr: str) -> None:
    """Create a project's routed network and its other resources."""
    mine = {"project_id": cloud.current_project_id}
    if not any(cloud.network.routers(name="gateway", **mine)):
        _private_network(cloud, public, cidr)
    if not any(cloud.network.security_groups(name="pool", **mine)):
        cloud.network.create_security_group(name="pool")
    if not cloud.compute.find_keypair("poolkey"):
        cloud.compute.create_keypair(name="poolkey", public_key=PUBLIC_KEY)
    if not cloud.compute.find_server_group("apart"):
        # Soft, because there is only one host.
        cloud.compute.create_server_group(
            name="apart", policy="soft-anti-affinity"
        )


def _private_network(cloud: Connection, public: str, cidr: str) -> None:
    mine = {"project_id": cloud.current_project_id}
    for left_over in cloud.network.networks(name="private", **mine):
        cloud.network.delete_network(left_over)
    network = cloud.network.create_network(name="private")
    subnet = cloud.network.create_subnet(
        name="private-v4", network_id=network.id, ip_version=4, cidr=cidr
    )
    router = cloud.network.create_router(
        name="gateway", external_gateway_info={"network_id": public}
    )
    cloud.network.add_interface_to_router(router, subnet.id)


if __name__ == "__main__":
    {"identity": identity, "resources": resources}[sys.argv[1]](
        Location.from_environment()
    )
