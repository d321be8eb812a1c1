"""The configuration files, made from the folder ``templates``."""

import json
import shutil
from pathlib import Path
from string import Template

from testcloud.location import HOST, Location

#: The password of every account; no other machine can reach the cloud.
PASSWORD = "testcloud"
TOKEN_LIFE = 3600
SHORT_TOKEN_LIFE = 20
HERE = Path(__file__).parent
DATABASES = (
    "keystone",
    "placement",
    "glance",
    "neutron",
    "nova_api",
    "nova_cell0",
    "nova",
)
ENTRY_POINTS = """\
[neutron.ml2.mechanism_drivers]
testcloud = testcloud.inside.neutron_agents:InstantDriver
"""


def write(location: Location) -> None:
    """Write all files, and a copy of this package for the services.

    The services must not depend on a checkout that may disappear.
    """
    for name in ("locks", "nova", "neutron", "images"):
        (location.data / name).mkdir(parents=True, exist_ok=True)
    _copy_code(location)
    values = _values(location)
    templates = HERE / "templates"
    for template in templates.rglob("*.*"):
        target = location.etc / template.relative_to(templates)
        _fill(template, target, values)
    # It shares database and keys, so its tokens are valid everywhere, but
    # expire earlier.
    _fill(
        templates / "keystone" / "keystone.conf",
        location.etc / "keystone-short" / "keystone.conf",
        {**values, "token_life": str(SHORT_TOKEN_LIFE)},
    )
    shutil.copy(
        location.venv / "etc" / "nova" / "api-paste.ini",
        location.etc / "nova" / "api-paste.ini",
    )
    _write_clouds(location)


def _copy_code(location: Location) -> None:
    shutil.copytree(
        HERE,
        location.code / "testcloud",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__", "templates"),
    )
    # Neutron finds its drivers by entry point.
    metadata = location.code / "testcloud-1.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Name: testcloud\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)


def _values(location: Location) -> dict[str, str]:
    keystone = location.url("keystone")
    memcached = f"{HOST}:{location.port_of('memcached')}"
    credentials = {
        "auth_type": "password",
        "auth_url": keystone,
        "password": PASSWORD,
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": "RegionOne",
    }
    token_checks = {
        "www_authenticate_uri": keystone,
        "memcached_servers": memcached,
        "service_token_roles": "service",
        "service_token_roles_required": "True",
    }
    return {
        **{f"database_{name}": location.database(name) for name in DATABASES},
        "credentials": _lines(credentials),
        "token_checks": _lines(token_checks),
        "token_life": str(TOKEN_LIFE),
        "memcached": memcached,
        "url_glance": location.url("glance"),
        "data": str(location.data),
        "venv": str(location.venv),
    }


def _lines(options: dict[str, str]) -> str:
    return "\n".join(f"{name} = {value}" for name, value in options.items())


def _fill(template: Path, target: Path, values: dict[str, str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(Template(template.read_text()).substitute(values))


def _write_clouds(location: Location) -> None:
    clouds = {
        "testcloud": _cloud("demo", location.url("keystone")),
        "testcloud-admin": _cloud("admin", location.url("keystone")),
        "testcloud-small": _cloud("small", location.url("keystone")),
        "testcloud-short": _cloud("demo", location.url("keystone-short")),
    }
    location.clouds_file.touch(mode=0o600)
    # JSON is valid YAML, and the standard library can write it.
    text = json.dumps({"clouds": clouds}, indent=2) + "\n"
    location.clouds_file.write_text(text)


def _cloud(name: str, url: str) -> dict[str, object]:
    return {
        "auth": {
            "auth_url": url,
            "username": name,
            "password": PASSWORD,
            "project_name": name,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
        "region_name": "RegionOne",
        "identity_api_version": "3",
    }
