"""What may be changed while the cloud runs.

The services read the file at every use, so nothing needs a restart.
"""

import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

#: Every knob and what it is until somebody turns it:
#:
#: ``boot_delay``, ``delete_delay``
#:     seconds, as a number or as text: "3", "2-6" for anything between
#: ``boot_failure``
#:     a text: every boot fails with it
#: ``floating_ip_status``
#:     "agent": ACTIVE with a port, DOWN without; "none": nobody reports
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
        """A knob's value.

        :raises KeyError: there is no such knob
        """
        default = DEFAULTS[name]
        return self._read().get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Turn a knob.

        :raises KeyError: there is no such knob
        """
        if name not in DEFAULTS:
            raise KeyError(name)
        self._write({**self._read(), name: value})

    def reset(self) -> None:
        """Turn all back."""
        self._write({})

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return {}

    def _write(self, values: dict[str, Any]) -> None:
        # A service may read at any moment: it sees the old or the new file.
        handle, name = tempfile.mkstemp(dir=self._path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(values, file, indent=2)
        Path(name).replace(self._path)


def seconds(delay: object) -> float:
    """A delay in seconds: "3" is 3, "2-6" something between 2 and 6.

    :raises ValueError: the delay is neither
    """
    low, _, high = str(delay).partition("-")
    return random.uniform(float(low), float(high or low))
