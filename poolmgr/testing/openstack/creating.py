"""Validation of the body of POST /servers, like Nova."""

import base64
import binascii
import re
import uuid
from collections.abc import Collection
from typing import Any

from poolmgr.testing.openstack import seeds
from poolmgr.testing.openstack.seeds import Json, Network
from poolmgr.testing.openstack.server import Server
from poolmgr.testing.openstack.service import Refused, Request
from poolmgr.testing.openstack.state import State

Version = tuple[int, int]

_KEY = "^[a-zA-Z0-9-_:. ]{1,255}$"
_MOST_METADATA = 128
#: The fields of all microversions.
_FIELDS = {
    "name",
    "imageRef",
    "flavorRef",
    "networks",
    "key_name",
    "metadata",
    "security_groups",
    "availability_zone",
    "user_data",
    "config_drive",
    "adminPass",
    "OS-DCF:diskConfig",
    "block_device_mapping_v2",
    "min_count",
    "max_count",
}
#: Other fields, with their first microversions.
_LATER_FIELDS: dict[str, Version] = {"description": (2, 19), "tags": (2, 52)}


def new_server(request: Request, state: State) -> Server:
    """Create a server from a request; do not add it to the state.

    :raises Refused: the request is invalid
    """
    wanted = request.resource("server")
    _check_fields(wanted, request.microversion)
    hints = request.resource("os:scheduler_hints") or {}
    _check_references(wanted, hints, state)
    _check_user_data(wanted.get("user_data"))
    return Server(
        id=str(uuid.uuid4()),
        url=f"{request.url}/compute",
        name=_name(wanted["name"]),
        image_id=_image(wanted.get("imageRef"), state),
        flavor=state.flavors[str(wanted["flavorRef"])],
        networks=_networks(wanted.get("networks", "auto"), state),
        key_name=wanted.get("key_name"),
        pinned_zone=wanted.get("availability_zone"),
        metadata=clean_metadata(wanted.get("metadata") or {}),
        tags=clean_tags(wanted.get("tags") or []),
        security_groups=_groups(wanted.get("security_groups"), state),
        group=hints.get("group"),
        config_drive=bool(wanted.get("config_drive", False)),
        description=wanted.get("description"),
        fate=request.fate,
    )


def clean_metadata(value: Any) -> dict[str, str]:
    """Validate metadata.

    :raises Refused: the metadata is invalid
    """
    if not isinstance(value, dict):
        raise _invalid("metadata", value, "is not of type 'object'")
    for key, text in value.items():
        if re.fullmatch(_KEY, key) is None:
            problem = f"does not match any of the regexes: {_KEY!r}"
            raise _invalid("metadata", key, problem)
        _check_text(key, text, 255)
    if len(value) > _MOST_METADATA:
        raise Refused(
            403, f"Maximum number of metadata items exceeds {_MOST_METADATA}"
        )
    return dict(value)


def clean_tags(value: Any) -> list[str]:
    """Validate tags and drop duplicates.

    :raises Refused: a tag is invalid
    """
    if not isinstance(value, list):
        raise _invalid("tags", value, "is not of type 'array'")
    for number, tag in enumerate(value):
        _check_text(str(number), tag, 60)
        if not re.fullmatch("[^,/]+", tag):
            raise _invalid(str(number), tag, "does not match '^[^,/]*$'")
    return list(dict.fromkeys(value))


def _invalid(field: str, value: object, problem: str) -> Refused:
    """Return Nova's 400 for a value that violates its schema."""
    return Refused(
        400,
        f"Invalid input for field/attribute {field}. Value: {value}. "
        f"{value!r} {problem}",
    )


def _check_references(wanted: Json, hints: Json, state: State) -> None:
    flavor, group = str(wanted["flavorRef"]), hints.get("group")
    zone, key_name = wanted.get("availability_zone"), wanted.get("key_name")
    no_zone = "The requested availability zone is not available"
    no_group = f"Instance group {group} could not be found."
    references: list[tuple[Any, Collection[str], str]] = [
        (flavor, state.flavors, f"Flavor {flavor} could not be found."),
        (key_name, state.keypairs, "Invalid key_name provided."),
        (zone, seeds.AVAILABILITY_ZONES, no_zone),
        (group, state.server_groups, no_group),
    ]
    for value, known, problem in references:
        if value is not None and value not in known:
            raise Refused(400, problem)


def _check_text(field: str, text: Any, most: int) -> None:
    if not isinstance(text, str):
        raise _invalid(field, text, "is not of type 'string'")
    if len(text) > most:
        raise _invalid(field, text, "is too long")


def _check_fields(wanted: Any, version: Version) -> None:
    if not isinstance(wanted, dict):
        raise _invalid("server", wanted, "is not of type 'object'")
    known = _FIELDS | {f for f, v in _LATER_FIELDS.items() if version >= v}
    needed = {"name", "flavorRef"}
    if version >= (2, 37):
        needed.add("networks")
    missing = sorted(needed - set(wanted))
    unknown = sorted(set(wanted) - known)
    if not missing and not unknown:
        return
    problem = (
        f"{missing[0]!r} is a required property"
        if missing
        else "Additional properties are not allowed "
        f"({unknown[0]!r} was unexpected)"
    )
    what = "Invalid input for field/attribute server. Value: "
    raise Refused(400, f"{what}{wanted}. {problem}")


def _name(value: Any) -> str:
    _check_text("name", value, 255)
    if not value:
        raise _invalid("name", value, "should be non-empty")
    if not value.isprintable() or value != value.strip():
        raise Refused(
            400,
            "An invalid 'name' value was provided. The name must be: "
            "printable characters. Can not start or end with whitespace.",
        )
    return str(value)


def _image(value: Any, state: State) -> str:
    try:
        image_id = str(uuid.UUID(str(value)))
    except ValueError:
        problem = "is not valid under any of the given schemas"
        raise _invalid("imageRef", value, problem) from None
    if image_id not in state.images:
        raise Refused(400, "Can not find requested image")
    return image_id


def _networks(value: Any, state: State) -> list[Network]:
    if value == "none":
        return []
    if value == "auto":
        return [n for n in state.networks.values() if n.routed]
    if not isinstance(value, list):
        problem = "is not valid under any of the given schemas"
        raise _invalid("networks", value, problem)
    chosen = []
    for each in value:
        network_id = each.get("uuid") if isinstance(each, dict) else None
        network = state.networks.get(str(network_id))
        if network is None:
            raise Refused(400, f"Network {network_id} could not be found.")
        if network.external:
            raise Refused(
                403,
                "It is not allowed to create an interface on external "
                f"network {network_id}",
            )
        chosen.append(network)
    return chosen


def _groups(value: Any, state: State) -> list[str]:
    known = {
        key: group["name"]
        for group in state.security_groups.values()
        for key in (group["id"], group["name"])
    }
    wanted = [each.get("name") for each in value or [{"name": "default"}]]
    for name in wanted:
        if name not in known:
            problem = f"Unable to find security_group with name or id '{name}'"
            raise Refused(400, problem)
    return [known[name] for name in wanted]


def _check_user_data(value: Any) -> None:
    if value is None:
        return
    _check_text("user_data", value, 65535)
    try:
        base64.decodebytes(value.encode())
    except (binascii.Error, ValueError):
        raise _invalid("user_data", value, "is not a 'base64'") from None
