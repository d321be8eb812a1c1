"""Conformance tests for actions and drivers.

Needs ``pip install poolmgr[testing]``.

.. code-block:: python

   import pytest

   from poolmgr.testing import ActionConformance, DriverConformance

   class TestMyAction(ActionConformance):
       action = MyAction
       message = {"field": "value"}

   class TestMyCloud(DriverConformance):
       @pytest.fixture
       def driver(self):
           return MyCloud(MyCloud.Settings(...))
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolmgr.testing.action import ActionConformance as ActionConformance
    from poolmgr.testing.conformance import (
        DriverConformance as DriverConformance,
    )

__all__ = ["ActionConformance", "DriverConformance"]

_MODULES = {
    "ActionConformance": "poolmgr.testing.action",
    "DriverConformance": "poolmgr.testing.conformance",
}


def __getattr__(name: str) -> object:
    # The loopback cloud can be imported without the conformance tests.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
