"""Tests of wrong endpoints, catalogs and microversions.

Every command and the worker report them without a retry.
"""

from pathlib import Path
from typing import Any

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.nova.config_folders import (
    ORIGINS,
    ConfigFolder,
    changed_token,
    token_of,
)

# -- auth_url ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        ("clouds.yaml", "clouds.yaml: clouds.mycloud: auth_url"),
        ("[nova]", "[nova]"),
        ("OS_", "the variables OS_*: auth_url"),
    ],
)
@pytest.mark.parametrize(
    ("part", "replacement"), [("/v3", "/v3/auth/tokens"), ("http://", "")]
)
def test_an_invalid_auth_url_is_reported_with_its_origin(
    folder: ConfigFolder, origin: str, shown: str, part: str, replacement: str
) -> None:
    url = folder.auth["auth_url"].replace(part, replacement)

    output = folder.fails(folder.use(origin, auth_url=url))

    assert shown in output
    assert url in output


@pytest.mark.parametrize("end", ["", "/", " ", "/v2.0", "/v3/"])
def test_an_auth_url_with_another_or_no_version_works(
    folder: ConfigFolder, cloud: LoopbackCloud, end: str
) -> None:
    url = folder.auth["auth_url"].replace("/v3", end)

    folder.passes(folder.use_clouds_yaml({"auth_url": url}))


def test_a_keystone_that_hides_its_versions_is_used(
    folder: ConfigFolder, cloud: LoopbackCloud
) -> None:
    headers = {"WWW-Authenticate": "Basic realm=x"}
    cloud.fault(
        Fault(
            "GET", "/", service="identity", status=401, headers=headers,
            times=None,
        )
    )  # fmt: skip

    folder.passes(folder.use_clouds_yaml())


def test_an_unsupported_auth_type_is_reported(folder: ConfigFolder) -> None:
    folder.auth = {k: v for k, v in folder.auth.items() if "domain" not in k}

    output = folder.fails(
        folder.use_clouds_yaml(auth_type="v2password"),
        "check",
        "worker",
        "build-device",
    )

    assert "clouds.yaml: clouds.mycloud: auth_type" in output


# -- the catalog -------------------------------------------------------------


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region_name", "Paris"),
        ("region_name", "regionone"),
        ("interface", "internal"),
    ],
)
def test_an_unknown_region_or_interface_is_reported(
    folder: ConfigFolder, origin: str, name: str, value: str
) -> None:
    output = folder.fails(folder.use(origin, **{name: value}))

    assert "the catalog has no service 'compute': " in output
    assert f"{value} " in output
    assert "check region_name and interface" in output


def test_an_option_overrides_clouds_yaml(folder: ConfigFolder) -> None:
    environment = folder.use_clouds_yaml(
        conf={"region_name": "Paris"}, region_name="RegionOne"
    )

    output = folder.fails(environment, "check", "worker", "build-device")

    assert "Paris region not found" in output


@pytest.mark.parametrize("service", ["compute", "network", "image"])
def test_a_service_missing_from_the_catalog_is_reported(
    folder: ConfigFolder, cloud: LoopbackCloud, service: str
) -> None:
    catalog = [
        entry
        for entry in token_of(cloud)["catalog"]
        if entry["type"] != service
    ]
    cloud.fault(changed_token(cloud, catalog=catalog))

    output = folder.fails(folder.use_clouds_yaml())

    assert f"the catalog has no service '{service}': " in output


@pytest.mark.parametrize("catalog", [None, {}, [{"type": "compute"}]])
def test_an_invalid_catalog_is_reported_as_lacking_services(
    folder: ConfigFolder, cloud: LoopbackCloud, catalog: Any
) -> None:
    cloud.fault(changed_token(cloud, catalog=catalog))

    output = folder.fails(folder.use_clouds_yaml())

    assert "the catalog has no service 'compute': " in output


@pytest.mark.parametrize("url", ["nova.example/v2.1", "http://[::1"])
def test_an_invalid_url_in_the_catalog_is_reported(
    folder: ConfigFolder, cloud: LoopbackCloud, url: str
) -> None:
    catalog = token_of(cloud)["catalog"]
    for service in catalog:
        for endpoint in service["endpoints"]:
            endpoint["url"] = url
    cloud.fault(changed_token(cloud, catalog=catalog))

    output = folder.fails(folder.use_clouds_yaml())

    assert "the catalog" in output
    assert url in output or "Invalid IPv6 URL" in output


@pytest.mark.parametrize(
    ("origin", "suffix"),
    [("[nova]", "endpoint"), ("clouds.yaml", "endpoint_override")],
)
@pytest.mark.parametrize(
    ("service", "name"), [("compute", "Nova"), ("network", "Neutron")]
)
def test_an_endpoint_of_another_service_is_reported(
    folder: ConfigFolder,
    cloud: LoopbackCloud,
    origin: str,
    suffix: str,
    service: str,
    name: str,
) -> None:
    wrong = f"{cloud.url}/identity"
    environment = folder.use(origin, **{f"{service}_{suffix}": wrong})

    output = folder.fails(environment)

    assert f"{name} answered 404 to GET /" in output
    assert f" at {wrong}/v2" in output


def test_an_invalid_endpoint_override_is_reported(
    folder: ConfigFolder,
) -> None:
    output = folder.fails(
        folder.use_clouds_yaml(compute_endpoint_override="nova.example")
    )

    name = "clouds.yaml: clouds.mycloud: compute_endpoint_override"
    assert f"{name} must be an address" in output
    assert "'nova.example'" in output


def test_an_invalid_endpoint_option_is_reported(folder: ConfigFolder) -> None:
    url = "https://user:planted-secret@nova.example"

    output = folder.fails(folder.use_options(compute_endpoint=url))

    assert "[nova] compute_endpoint must be an address" in output
    assert "planted-secret" not in output


def test_a_login_without_a_project_is_reported(
    folder: ConfigFolder, cloud: LoopbackCloud
) -> None:
    cloud.fault(changed_token(cloud, project=None, catalog=[]))
    project = [name for name in folder.auth if name.startswith("project")]
    for name in project:
        del folder.auth[name]

    output = folder.fails(
        folder.use_clouds_yaml(), "check", "worker", "build-device"
    )

    assert "clouds.yaml: clouds.mycloud: the login is for no project" in output


# -- microversions ------------------------------------------------------------


def microversion_in(output: str) -> str:
    """Return the microversion that a check shows."""
    line = next(x for x in output.splitlines() if "compute_api_version" in x)
    return line.split("|")[3].strip()


@pytest.mark.parametrize(
    ("newest", "used"), [("2.104", "2.79"), ("2.79", "2.79"), ("2.60", "2.60")]
)
def test_the_newest_common_microversion_is_used(
    tmp_path: Path, newest: str, used: str
) -> None:
    with LoopbackCloud(max_microversion=newest) as cloud:
        # Nova does not show its range of microversions beforehand.
        cloud.fault(
            Fault("GET", "/", service="compute", status=404, times=None)
        )
        folder = ConfigFolder(tmp_path, cloud)

        output = folder.passes(folder.use_clouds_yaml())

        assert microversion_in(output) == used


@pytest.mark.parametrize("newest", ["2.1", "2.51"])
def test_a_too_old_nova_is_reported(tmp_path: Path, newest: str) -> None:
    with LoopbackCloud(max_microversion=newest) as cloud:
        folder = ConfigFolder(tmp_path, cloud)

        output = folder.fails(folder.use_clouds_yaml())

    assert f"Minimum is 2.1 and maximum is {newest}" in output


def test_a_microversion_that_is_no_number_is_reported(
    folder: ConfigFolder, cloud: LoopbackCloud
) -> None:
    body = "Minimum is 2.1 and maximum is 2." + "9" * 5000
    cloud.fault(
        Fault("GET", service="compute", status=406, body=body, times=None)
    )

    output = folder.fails(folder.use_clouds_yaml())

    assert "Nova answered 406 to GET /flavors: Minimum is 2.1" in output


def flavors_without_microversion(
    cloud: LoopbackCloud, times: int | None
) -> Fault:
    """Return the fault that Nova lists flavors without a microversion."""
    entry = {"id": cloud.ids["m1.nano"], "name": "m1.nano"}
    return Fault(
        "GET", "/flavors", status=200, body={"flavors": [entry]}, times=times
    )


def test_check_works_behind_a_gateway_that_hides_the_microversion(
    folder: ConfigFolder, cloud: LoopbackCloud
) -> None:
    cloud.fault(flavors_without_microversion(cloud, times=1))

    output = folder.passes(folder.use_clouds_yaml())

    assert microversion_in(output) == "2.79"


def test_the_microversion_can_be_set(
    folder: ConfigFolder, cloud: LoopbackCloud
) -> None:
    output = folder.passes(
        folder.use_clouds_yaml(conf={"compute_api_version": "2.60"})
    )

    assert microversion_in(output) == "2.60"
    versions = {
        call.headers.get("OpenStack-API-Version")
        for call in cloud.calls
        if call.service == "compute"
    }
    assert versions == {"compute 2.60"}


def test_a_microversion_unknown_to_nova_is_reported(
    folder: ConfigFolder,
) -> None:
    output = folder.fails(
        folder.use_clouds_yaml(conf={"compute_api_version": "2.200"}),
        "check",
        "worker",
        "build-device",
    )

    assert "Version 2.200 is not supported by the API" in output
