"""Mistakes in what says which cloud: told at once, by all that start."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.nova.config_folders import ConfigFolder, token_of


@pytest.fixture
def cloud() -> Iterator[LoopbackCloud]:
    with LoopbackCloud() as cloud:
        yield cloud


@pytest.fixture
def folder(tmp_path: Path, cloud: LoopbackCloud) -> ConfigFolder:
    return ConfigFolder(tmp_path, cloud)


# -- the address of Keystone --------------------------------------------------


@pytest.mark.parametrize("origin", ["clouds.yaml", "[nova]", "OS_"])
@pytest.mark.parametrize("wrong", ["v3/auth/tokens", "no scheme"])
def test_an_auth_url_that_is_none_is_told_with_its_origin(
    folder: ConfigFolder, origin: str, wrong: str
) -> None:
    url = folder.auth["auth_url"].replace("/v3", f"/{wrong}")
    if wrong == "no scheme":
        url = folder.auth["auth_url"].replace("http://", "")
    where = "[nova]"
    if origin == "[nova]":
        environment = folder.use_options(auth_url=url)
    elif origin == "OS_":
        environment = folder.use_openrc(OS_AUTH_URL=url)
        where = "the variables OS_*: auth_url"
    else:
        environment = folder.use_clouds_yaml({"auth_url": url})
        where = "clouds.yaml: clouds.there: auth_url"

    said = folder.fails(environment)

    assert where in said
    assert url in said


@pytest.mark.parametrize("end", ["", "/", " ", "/v2.0", "/v3/"])
def test_an_auth_url_that_is_nearly_right_will_do(
    folder: ConfigFolder, cloud: LoopbackCloud, end: str
) -> None:
    url = folder.auth["auth_url"].replace("/v3", end)

    folder.passes(folder.use_clouds_yaml({"auth_url": url}))


def test_a_keystone_whose_versions_need_a_login_is_used(
    folder: ConfigFolder, cloud: LoopbackCloud
) -> None:
    page = {"WWW-Authenticate": "Basic realm=x"}
    cloud.fault(
        Fault(
            "GET", "/", service="identity", status=401, headers=page,
            times=None,
        )
    )  # fmt: skip

    folder.passes(folder.use_clouds_yaml())


def test_a_way_to_log_in_that_is_gone_is_told(folder: ConfigFolder) -> None:
    folder.auth = {k: v for k, v in folder.auth.items() if "domain" not in k}

    said = folder.fails(
        folder.use_clouds_yaml(auth_type="v2password"),
        "check",
        "worker",
        "build-device",
    )

    assert "clouds.yaml: clouds.there: auth_type" in said


# -- what the catalog has -----------------------------------------------------


@pytest.mark.parametrize("origin", ["clouds.yaml", "[nova]", "OS_"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region_name", "Paris"),
        ("region_name", "regionone"),
        ("interface", "internal"),
    ],
)
def test_a_region_or_interface_that_is_not_there_is_told(
    folder: ConfigFolder, origin: str, name: str, value: str
) -> None:
    wrong = {name: value}
    if origin == "[nova]":
        environment = folder.use_options(**wrong)
    elif origin == "OS_":
        environment = folder.use_openrc(**{f"OS_{name.upper()}": value})
    else:
        environment = folder.use_clouds_yaml(**wrong)

    said = folder.fails(environment)

    assert "the catalog has no service 'compute': " in said
    assert f"{value} " in said
    assert "check region_name and interface" in said


def test_an_option_overrides_clouds_yaml(folder: ConfigFolder) -> None:
    environment = folder.use_clouds_yaml(
        conf={"region_name": "Paris"}, region_name="RegionOne"
    )

    said = folder.fails(environment, "check", "worker", "build-device")

    assert "Paris region not found" in said


def token(cloud: LoopbackCloud, **changes: Any) -> Fault:
    """Keystone answers with another token than it would."""
    body = {"token": {**token_of(cloud), **changes}}
    headers = {"X-Subject-Token": cloud.connect().authorize()}
    return Fault(
        "POST", "/auth/tokens", status=201, body=body, headers=headers,
        times=None,
    )  # fmt: skip


@pytest.mark.parametrize("service", ["compute", "network", "image"])
def test_a_service_that_the_catalog_lacks_is_told(
    folder: ConfigFolder, cloud: LoopbackCloud, service: str
) -> None:
    rest = [
        entry
        for entry in token_of(cloud)["catalog"]
        if entry["type"] != service
    ]
    cloud.fault(token(cloud, catalog=rest))

    said = folder.fails(folder.use_clouds_yaml())

    assert f"the catalog has no service '{service}': " in said


@pytest.mark.parametrize("catalog", [None, {}, [{"type": "compute"}]])
def test_a_catalog_that_is_none_has_no_service(
    folder: ConfigFolder, cloud: LoopbackCloud, catalog: Any
) -> None:
    cloud.fault(token(cloud, catalog=catalog))

    said = folder.fails(folder.use_clouds_yaml())

    assert "the catalog has no service 'compute': " in said


@pytest.mark.parametrize("url", ["nova.example/v2.1", "http://[::1"])
def test_an_address_of_the_catalog_that_is_none_is_told(
    folder: ConfigFolder, cloud: LoopbackCloud, url: str
) -> None:
    catalog = token_of(cloud)["catalog"]
    for service in catalog:
        for endpoint in service["endpoints"]:
            endpoint["url"] = url
    cloud.fault(token(cloud, catalog=catalog))

    said = folder.fails(folder.use_clouds_yaml())

    assert "the catalog" in said
    assert url in said or "Invalid IPv6 URL" in said


@pytest.mark.parametrize("origin", ["[nova]", "clouds.yaml"])
@pytest.mark.parametrize(
    ("service", "name"), [("compute", "Nova"), ("network", "Neutron")]
)
def test_an_address_where_another_service_is_is_told(
    folder: ConfigFolder,
    cloud: LoopbackCloud,
    origin: str,
    service: str,
    name: str,
) -> None:
    wrong = f"{cloud.url}/identity"
    if origin == "[nova]":
        environment = folder.use_options(**{f"{service}_endpoint": wrong})
    else:
        option = f"{service}_endpoint_override"
        environment = folder.use_clouds_yaml(**{option: wrong})

    said = folder.fails(environment)

    assert f"{name} answered 404 to GET /" in said
    assert f" at {wrong}/v2" in said


def test_an_address_of_clouds_yaml_that_is_none_is_told(
    folder: ConfigFolder,
) -> None:
    said = folder.fails(
        folder.use_clouds_yaml(compute_endpoint_override="nova.example")
    )

    assert "compute_endpoint_override must be an address" in said
    assert "'nova.example'" in said


def test_a_login_without_a_project_is_told(
    folder: ConfigFolder, cloud: LoopbackCloud
) -> None:
    cloud.fault(token(cloud, project=None, catalog=[]))
    project = [name for name in folder.auth if name.startswith("project")]
    for name in project:
        del folder.auth[name]

    said = folder.fails(
        folder.use_clouds_yaml(), "check", "worker", "build-device"
    )

    assert "clouds.yaml: clouds.there: the login is for no project" in said


# -- microversions ------------------------------------------------------------


def version_in(said: str) -> str:
    """Which microversion a check says is spoken."""
    line = next(x for x in said.splitlines() if "compute_api_version" in x)
    return line.split("|")[3].strip()


@pytest.mark.parametrize(
    ("has", "spoken"), [("2.104", "2.79"), ("2.79", "2.79"), ("2.60", "2.60")]
)
def test_the_newest_microversion_that_both_know_is_spoken(
    tmp_path: Path, has: str, spoken: str
) -> None:
    with LoopbackCloud(max_microversion=has) as cloud:
        # Its document of versions says nothing.
        cloud.fault(
            Fault("GET", "/", service="compute", status=404, times=None)
        )
        folder = ConfigFolder(tmp_path, cloud)

        said = folder.passes(folder.use_clouds_yaml())

        assert version_in(said) == spoken


@pytest.mark.parametrize("has", ["2.1", "2.51"])
def test_a_nova_that_is_too_old_is_told(tmp_path: Path, has: str) -> None:
    with LoopbackCloud(max_microversion=has) as cloud:
        folder = ConfigFolder(tmp_path, cloud)

        said = folder.fails(folder.use_clouds_yaml())

    assert f"Minimum is 2.1 and maximum is {has}" in said


def flavors(cloud: LoopbackCloud, times: int | None) -> Fault:
    """Flavors are answered with nothing that shows a microversion."""
    entry = {"id": cloud.ids["m1.nano"], "name": "m1.nano"}
    return Fault(
        "GET", "/flavors", status=200, body={"flavors": [entry]}, times=times
    )


def test_a_gateway_that_hides_the_microversion_is_no_obstacle(
    folder: ConfigFolder, cloud: LoopbackCloud
) -> None:
    cloud.fault(flavors(cloud, times=1))

    said = folder.passes(folder.use_clouds_yaml())

    assert version_in(said) == "2.79"


def test_the_microversion_can_be_set(
    folder: ConfigFolder, cloud: LoopbackCloud
) -> None:
    said = folder.passes(
        folder.use_clouds_yaml(conf={"compute_api_version": "2.60"})
    )

    assert version_in(said) == "2.60"
    asked = {
        call.headers.get("OpenStack-API-Version")
        for call in cloud.calls
        if call.service == "compute"
    }
    assert asked == {"compute 2.60"}


def test_a_microversion_that_nova_does_not_know_is_told(
    folder: ConfigFolder,
) -> None:
    said = folder.fails(
        folder.use_clouds_yaml(conf={"compute_api_version": "2.200"}),
        "check",
        "worker",
        "build-device",
    )

    assert "Version 2.200 is not supported by the API" in said
