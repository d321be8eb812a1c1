"""clouds.yaml: whether the SDK can make something of it.

The SDK skips a file that is broken, and then says that the cloud was not
found; what else is wrong it trips over.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from poolmgr.drivers.nova.credentials import hide
from poolmgr.errors import ConfigError
from poolmgr.text import one_line


def check_clouds_yaml(cloud: str) -> None:
    """Go on only if the files that may have a cloud are well-formed.

    :param cloud: its name
    :raises ConfigError: one is not; it says which, and what is wrong
    """
    from openstack.config.loader import CONFIG_FILES, SECURE_FILES

    _check_first("OS_CLIENT_CONFIG_FILE", CONFIG_FILES, cloud)
    _check_first("OS_CLIENT_SECURE_FILE", SECURE_FILES, cloud)


def _check_first(variable: str, usual: Sequence[str], cloud: str) -> None:
    """Check the file that the SDK reads: the first that it can."""
    given = os.environ.get(variable)
    for path in [given, *usual] if given else usual:
        if not os.path.exists(path):
            continue
        try:
            content = _read(path)
        except PermissionError as error:
            if path == given:
                raise _unreadable(path, error) from None
            continue  # as the SDK does
        _check(path, content, cloud)
        return


def _read(path: str) -> Any:
    import yaml

    try:
        with open(path) as file:
            if path.endswith("json"):
                return json.load(file)
            return yaml.safe_load(file)
    except PermissionError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError:
        raise _wrong(path, "is not encoded in UTF-8") from None
    except json.JSONDecodeError as error:
        raise _wrong(path, f"line {error.lineno}: no valid JSON") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # What is there may be a secret; only the place is told.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise _wrong(path, f"{where}no valid YAML") from None


def _check(path: str, content: Any, cloud: str) -> None:
    """Check the form of what a file says of a cloud."""
    if content is None:
        return  # an empty file, in which there is no cloud
    _check_mapping(path, "the file", content)
    clouds = content.get("clouds", {})
    _check_mapping(path, "clouds", clouds)
    if cloud not in clouds:
        return
    entry = clouds[cloud]
    _check_mapping(path, f"clouds.{cloud}", entry)
    if "auth" not in entry:
        return
    auth = entry["auth"]
    _check_mapping(path, f"clouds.{cloud}.auth", auth)
    hide({str(name): auth[name] for name in auth})
    for name, value in auth.items():
        is_other = isinstance(value, (int, float, date))
        if is_other and not isinstance(value, bool):
            # YAML takes 1234 for a number, Keystone wants a text.
            raise _wrong(
                path,
                f"clouds.{cloud}.auth.{name} is no text; put it in quotes",
            )


def _check_mapping(path: str, name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(
            path, f"{name} has to be a mapping, with names and values"
        )


def _unreadable(path: str, error: OSError) -> ConfigError:
    return _wrong(path, f"cannot be read: {error.strerror}")


def _wrong(path: str, what: str) -> ConfigError:
    return ConfigError(one_line(f"clouds.yaml ({path}): {what}"))
