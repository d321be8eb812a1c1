"""Names, addresses and durations, as people and clients write them."""

import contextlib
import ipaddress
import re

from poolmgr.actions.assign_ip import AssignIp
from poolmgr.actions.base import parse_request
from poolmgr.drivers.nova.calls import path_of
from poolmgr.drivers.nova.credentials import check_address, with_version
from poolmgr.errors import CloudRefused, ConfigError, InvalidField
from poolmgr.gearman.endpoint import Address
from poolmgr.ownership import clean_basename, new_name
from poolmgr.text import format_duration, parse_duration

SEEDS = [
    b"127.0.0.1:4730",
    b"[::1]:4730",
    b"http://keystone:5000/v2.0/",
    b"libra_stg-haproxy.1",
    b"192.0.2.1",
    b"1d 12h",
    b"../os-keypairs/k",
]


def one(data: bytes) -> None:
    """The data is the text of each."""
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ConfigError):
        address = Address.parse(text)
        assert Address.parse(str(address)) == address
    with contextlib.suppress(ValueError):
        assert parse_duration(text) >= 0
        format_duration(parse_duration(text))
    with contextlib.suppress(ValueError):
        name = new_name(clean_basename(text))
        assert len(name) <= 63
        _request(name, "192.0.2.1")
    with contextlib.suppress(ConfigError):
        with_version(check_address("auth_url", text), "v3")
    with contextlib.suppress(CloudRefused):
        path = path_of("/x", text)
        assert re.fullmatch("/x/[A-Za-z0-9_.%-]+", path)
        assert path not in ("/x/.", "/x/..")
    with contextlib.suppress(InvalidField):
        _request("x", text)
        ipaddress.ip_address(text)
    with contextlib.suppress(InvalidField):
        _request(text, "192.0.2.1")
        assert path_of("/x", text) == f"/x/{text}"


def _request(name: str, ip: str) -> None:
    parse_request(AssignIp, {"name": name, "ip": ip})
