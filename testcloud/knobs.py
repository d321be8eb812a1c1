"""Knobs: settings that may change while the cloud runs.

The services read the file at every use, so no restart is needed.
"""

import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

#: Every knob and its default:
#:
#: ``boot_delay``, ``delete_delay``
#:     seconds, as a number or text: "3", or "2-6" for a random value
#: ``boot_failure``
#:     the text with which every boot fails
#: ``floating_ip_status``
#:     "agent": ACTIVE with a port, DOWN without; "none": no reports
DEFAULTS: dict[str, Any] = {
    "boot_delay": 0,
    "delete_delay": 0,
    "boot_failure": "",
    "floating_ip_status": "agent",
}


class Knobs:
    """The knobs in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str) -> Any:
        """Return a knob's value.

        :raises KeyError: there is no such knob
        """
        default = DEFAULTS[name]
        return self._read().get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Set a knob.

        :raises KeyError: there is no such knob
        """
        if name not in DEFAULTS:
            raise KeyError(name)
        self._write({**self._read(), name: value})

    def reset(self) -> None:
        """Reset all knobs."""
        self._write({})

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return {}

    def _write(self, values: dict[str, Any]) -> None:
        # Atomic, since a service may read the file at any moment.
        handle, name = tempfile.mkstemp(dir=self._path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(values, file, indent=2)
        Path(name).replace(self._path)


def seconds(delay: object) -> float:
    """Return a delay in seconds: "3" is 3, "2-6" a random value between.

    :raises ValueError: the text has another form
    """
    low, _, high = str(delay).partition("-")
    return random.uniform(float(low), float(high or low))
