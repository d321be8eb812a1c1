"""A clouds.yaml that cannot be used: which file, and what is wrong with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.nova.places import Place

SECRET = "a secret that nobody shows"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with LoopbackCloud() as cloud:
        yield Place(tmp_path, cloud)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[]", "the file has to be a mapping"),
        (b"hello", "the file has to be a mapping"),
        (b"clouds:\n", "clouds has to be a mapping"),
        (b"clouds: {there: }", "clouds.there has to be a mapping"),
        (b"clouds: {there: 5}", "clouds.there has to be a mapping"),
        (b"clouds: {there: {auth: }}", "clouds.there.auth has to be a mapp"),
        (b"clouds: {there: {auth: [x]}}", "clouds.there.auth has to be a m"),
        (b"clouds:\n  there: {", "line 2: no valid YAML"),
        (b"clouds:\n\tthere: x", "line 2: no valid YAML"),
        (b"clouds: *" + SECRET.encode(), "line 1: no valid YAML"),
        (b"\0", "no valid YAML"),
        (b"clouds: {there: {auth: {password: \xff}}}", "is not encoded in"),
    ],
)
def test_a_file_that_is_broken_is_named(
    place: Place, content: bytes, said: str
) -> None:
    environment = place.by_clouds_yaml()
    path = place.folder / "clouds.yaml"
    path.write_bytes(content)

    told = place.tells(environment)

    assert f"clouds.yaml ({path}): {said}" in told
    assert "secret" not in told
    assert "Error" not in told


def test_a_file_of_json_that_is_broken_is_named(place: Place) -> None:
    place.by_clouds_yaml()
    path = place.folder / "clouds.json"
    path.write_text("{\n")

    told = place.tells({"OS_CLIENT_CONFIG_FILE": str(path)})

    assert f"({path}): line 2: no valid JSON" in told


def test_a_file_of_secrets_that_is_broken_is_named(place: Place) -> None:
    environment = place.by_clouds_yaml()
    path = place.folder / "more.yaml"
    path.write_text("clouds: {there: {auth: [")

    told = place.tells({**environment, "OS_CLIENT_SECURE_FILE": str(path)})

    assert f"({path}): line 1: no valid YAML" in told


def test_a_folder_is_no_file(place: Place) -> None:
    environment = place.by_clouds_yaml()
    environment["OS_CLIENT_CONFIG_FILE"] = str(place.folder)

    told = place.tells(environment)

    assert f"({place.folder}): cannot be read: Is a directory" in told


@pytest.mark.parametrize("value", [12345678, 1.5])
@pytest.mark.parametrize("name", ["password", "auth_url"])
def test_a_number_where_a_text_is_wanted_is_told(
    place: Place, name: str, value: float
) -> None:
    told = place.tells(place.by_clouds_yaml({name: value}))

    assert f"clouds.there.auth.{name} is no text; put it in quotes" in told
    assert str(value) not in told


@pytest.mark.parametrize(
    ("cloud", "said"),
    [
        ({"auth_type": "nonsense"}, "The plugin nonsense could not be found"),
        ({"profile": 5}, "openstacksdk cannot use this"),
        ({"auth_type": None}, "openstacksdk cannot use this"),
        ({"networks": [{"x": 1}]}, 'is missing required field "name"'),
    ],
)
def test_what_the_sdk_does_not_take_is_told_with_its_origin(
    place: Place, cloud: dict[str, Any], said: str
) -> None:
    told = place.tells(place.by_clouds_yaml(**cloud))

    assert "clouds.yaml: clouds.there: " in told
    assert said in told
    assert "Error" not in told


@pytest.mark.parametrize("name", ["password", "auth_url"])
def test_credentials_that_are_incomplete_are_told(
    place: Place, name: str
) -> None:
    del place.auth[name]

    told = place.tells(place.by_clouds_yaml())

    assert "clouds.yaml: clouds.there" in told
    assert name in told
    assert "Error" not in told


def test_a_password_in_an_address_is_refused_with_its_origin(
    place: Place,
) -> None:
    url = place.auth["auth_url"].replace("//", "//somebody:geheimnis@")
    where = "auth_url must not have a user or a password in it"

    told = place.tells(place.by_clouds_yaml({"auth_url": url}))
    assert f"clouds.yaml: clouds.there.auth.{where}" in told
    assert "geheimnis" not in json.dumps(told)

    told = place.tells(place.by_openrc(OS_AUTH_URL=url))
    assert f"OS_{where.replace('auth_url', 'AUTH_URL')}" in told
