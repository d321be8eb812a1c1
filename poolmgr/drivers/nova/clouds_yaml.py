"""clouds.yaml: whether the SDK can make something of it.

The SDK skips a file that is broken, and then says that the cloud was not
found; what else is wrong it trips over.
"""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import yaml
from openstack.config.loader import CONFIG_FILES, SECURE_FILES

from poolmgr.drivers.nova.credentials import hide, secrets_in
from poolmgr.errors import ConfigError
from poolmgr.text import one_line


def check_clouds_yaml(cloud: str) -> None:
    """Go on only if the files that may have a cloud are well-formed.

    :param cloud: its name
    :raises ConfigError: one is not; it says which, and what is wrong
    """
    for path, content in _files():
        _check(path, content, cloud)


def secret_files(cloud: str) -> list[tuple[str, str]]:
    """Each file that has a secret of a cloud, and the name of one in it.

    :param cloud: its name
    """
    found = []
    for path, content in _files():
        auth = _check(path, content, cloud)
        for name in sorted(secrets_in(auth))[:1]:
            found.append((path, f"clouds.{cloud}.auth.{name}"))
    return found


def _files() -> Iterator[tuple[str, Any]]:
    """The files that the SDK reads, and what is in them."""
    for variable, usual in (
        ("OS_CLIENT_CONFIG_FILE", CONFIG_FILES),
        ("OS_CLIENT_SECURE_FILE", SECURE_FILES),
    ):
        given = os.environ.get(variable)
        # Of each kind it reads the first that it can.
        for path in [given, *usual] if given else usual:
            readable = path == given or os.access(path, os.R_OK)
            if os.path.exists(path) and readable:
                yield path, _read(path)
                break


def _read(path: str) -> Any:
    try:
        with open(path) as file:
            if path.endswith("json"):
                return json.load(file)
            return yaml.safe_load(file)
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _wrong(path, "is not encoded in UTF-8") from None
    except json.JSONDecodeError as error:
        raise _wrong(path, f"line {error.lineno}: no valid JSON") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # What is there may be a secret; only the place is told.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise _wrong(path, f"{where}no valid YAML") from None


def _check(path: str, content: Any, cloud: str) -> Mapping[str, Any]:
    """Check the form of what a file says of a cloud; its credentials."""
    if content is None:
        return {}  # an empty file, in which there is no cloud
    entry, where = {"clouds": {}} | _mapping(path, "the file", content), ""
    for name in ("clouds", cloud, "auth"):
        if name not in entry:
            return {}
        where = f"{where}.{name}".lstrip(".")
        entry = _mapping(path, where, entry[name])
    hide({str(name): value for name, value in entry.items()})
    for name, value in entry.items():
        is_other = isinstance(value, (int, float, date))
        if is_other and not isinstance(value, bool):
            # YAML takes 1234 for a number, Keystone wants a text.
            what = f"{where}.{name} is no text; put it in quotes"
            raise _wrong(path, what)
    return {str(name): value for name, value in entry.items()}


def _mapping(path: str, name: str, value: object) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _wrong(
            path, f"{name} has to be a mapping, with names and values"
        )
    return value


def _wrong(path: str, what: str) -> ConfigError:
    return ConfigError(one_line(f"clouds.yaml ({path}): {what}"))
