"""What Nova makes of the body of POST /servers."""

import base64
import binascii
import re
import uuid
from typing import Any

from poolmgr.testing.openstack import seeds
from poolmgr.testing.openstack.errors import Refused, bad_request, invalid
from poolmgr.testing.openstack.seeds import Network
from poolmgr.testing.openstack.server import Json, Server
from poolmgr.testing.openstack.service import Request
from poolmgr.testing.openstack.state import State

Version = tuple[int, int]

_KEY = "^[a-zA-Z0-9-_:. ]{1,255}$"
_MOST_METADATA = 128
#: The fields that are known, and since which microversion.
_FIELDS: dict[str, Version] = {
    "name": (2, 1),
    "imageRef": (2, 1),
    "flavorRef": (2, 1),
    "networks": (2, 1),
    "key_name": (2, 1),
    "metadata": (2, 1),
    "security_groups": (2, 1),
    "availability_zone": (2, 1),
    "user_data": (2, 1),
    "config_drive": (2, 1),
    "adminPass": (2, 1),
    "OS-DCF:diskConfig": (2, 1),
    "min_count": (2, 1),
    "max_count": (2, 1),
    "description": (2, 19),
    "tags": (2, 52),
}


def new_server(request: Request, state: State) -> Server:
    """The server that a request asks for; it is not in the state yet.

    :raises Refused: as Nova refuses it
    """
    body = request.body if isinstance(request.body, dict) else {}
    if "server" not in body:
        raise bad_request("'server' is a required property")
    wanted = body["server"]
    _check_fields(wanted, request.microversion)
    hints = body.get("os:scheduler_hints") or {}
    server = Server(
        id=str(uuid.uuid4()),
        name=_name(wanted["name"]),
        image_id=_image(wanted.get("imageRef"), state),
        flavor=_flavor(wanted["flavorRef"], state),
        networks=_networks(wanted.get("networks", "auto"), state),
        key_name=_keypair(wanted.get("key_name"), state),
        pinned_zone=_zone(wanted.get("availability_zone")),
        metadata=clean_metadata(wanted.get("metadata") or {}),
        tags=clean_tags(wanted.get("tags") or []),
        security_groups=_groups(wanted.get("security_groups"), state),
        group=_group(hints.get("group"), state),
        config_drive=bool(wanted.get("config_drive", False)),
        description=wanted.get("description"),
        fate=request.fate,
    )
    _check_user_data(wanted.get("user_data"))
    return server


def check_quota(state: State) -> None:
    """There is room for one server more.

    :raises Refused: there is not
    """
    used, most = len(state.servers), state.settings.instances
    if used >= most:
        raise Refused(
            403,
            f"Quota exceeded for instances: Requested 1, but already used "
            f"{used} of {most} instances",
        )


def clean_metadata(value: Any) -> dict[str, str]:
    """Metadata that Nova takes.

    :raises Refused: it does not take it
    """
    if not isinstance(value, dict):
        raise invalid("metadata", value, f"{value!r} is not of type 'object'")
    for key, text in value.items():
        if re.fullmatch(_KEY, key) is None:
            problem = f"{key!r} does not match any of the regexes: {_KEY!r}"
            raise invalid("metadata", value, problem)
        _check_text(key, text, 255)
    if len(value) > _MOST_METADATA:
        raise Refused(
            403, f"Maximum number of metadata items exceeds {_MOST_METADATA}"
        )
    return dict(value)


def clean_tags(value: Any) -> list[str]:
    """Tags that Nova takes.

    :raises Refused: it does not take them
    """
    if not isinstance(value, list):
        raise invalid("tags", value, f"{value!r} is not of type 'array'")
    for number, tag in enumerate(value):
        _check_text(str(number), tag, 60)
        if not re.fullmatch("[^,/]+", tag):
            problem = f"{tag!r} does not match '^[^,/]*$'"
            raise invalid(str(number), tag, problem)
    return list(dict.fromkeys(value))


def _check_text(field: str, text: Any, most: int) -> None:
    if not isinstance(text, str):
        raise invalid(field, text, f"{text!r} is not of type 'string'")
    if len(text) > most:
        raise invalid(field, text, f"{text!r} is too long")


def _check_fields(wanted: Any, version: Version) -> None:
    if not isinstance(wanted, dict):
        raise invalid("server", wanted, f"{wanted!r} is not of type 'object'")
    needed = ["name", "flavorRef"]
    if version >= (2, 37):
        needed.append("networks")
    for name in needed:
        if name not in wanted:
            raise invalid("server", wanted, f"{name!r} is a required property")
    for name in wanted:
        if version < _FIELDS.get(name, (9, 0)):
            raise invalid(
                "server",
                wanted,
                "Additional properties are not allowed "
                f"({name!r} was unexpected)",
            )


def _name(value: Any) -> str:
    _check_text("name", value, 255)
    if not value:
        raise invalid("name", value, f"{value!r} should be non-empty")
    if not value.isprintable() or value != value.strip():
        raise bad_request(
            "An invalid 'name' value was provided. The name must be: "
            "printable characters. Can not start or end with whitespace."
        )
    return str(value)


def _image(value: Any, state: State) -> str:
    try:
        image_id = str(uuid.UUID(str(value)))
    except ValueError:
        problem = f"{value!r} is not valid under any of the given schemas"
        raise invalid("imageRef", value, problem) from None
    if image_id not in state.images:
        raise bad_request("Can not find requested image")
    return image_id


def _flavor(value: Any, state: State) -> Json:
    if value not in state.flavors:
        raise bad_request(f"Flavor {value} could not be found.")
    return state.flavors[value]


def _networks(value: Any, state: State) -> list[Network]:
    if value == "none":
        return []
    if value == "auto":
        return [n for n in state.networks.values() if n.routed]
    if not isinstance(value, list):
        problem = f"{value!r} is not valid under any of the given schemas"
        raise invalid("networks", value, problem)
    ids = [w.get("uuid") if isinstance(w, dict) else None for w in value]
    for network_id in ids:
        if network_id not in state.networks:
            raise bad_request(f"Network {network_id} could not be found.")
        if state.networks[network_id].external:
            raise Refused(
                403,
                "It is not allowed to create an interface on external "
                f"network {network_id}",
            )
    return [state.networks[str(network_id)] for network_id in ids]


def _keypair(value: Any, state: State) -> str | None:
    if value is None:
        return None
    if value not in state.keypairs:
        raise bad_request("Invalid key_name provided.")
    return str(value)


def _zone(value: Any) -> str | None:
    if value is None:
        return None
    if value not in seeds.AVAILABILITY_ZONES:
        raise bad_request("The requested availability zone is not available")
    return str(value)


def _groups(value: Any, state: State) -> list[str]:
    known = {
        key: group["name"]
        for group in state.security_groups.values()
        for key in (group["id"], group["name"])
    }
    names = []
    for wanted in value or [{"name": "default"}]:
        if wanted.get("name") not in known:
            raise bad_request(
                "Unable to find security_group with name or id "
                f"'{wanted.get('name')}'"
            )
        names.append(known[wanted["name"]])
    return names


def _group(value: Any, state: State) -> str | None:
    if value is None:
        return None
    if value not in state.server_groups:
        raise bad_request(f"Instance group {value} could not be found.")
    return str(value)


def _check_user_data(value: Any) -> None:
    if value is None:
        return
    _check_text("user_data", value, 65535)
    try:
        base64.decodebytes(value.encode())
    except (binascii.Error, ValueError):
        problem = f"{value!r} is not a 'base64'"
        raise invalid("user_data", value, problem) from None
