"""For the tests of plugins: what every driver has to do.

Needs pytest: ``pip install poolmgr[testing]``.

.. code-block:: python

   from poolmgr.testing import DriverConformance

   class TestMyCloud(DriverConformance):
       @pytest.fixture
       def driver(self):
           driver = MyCloud(MyCloud.Settings(...))
           yield driver
           driver.close()
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolmgr.testing.conformance import (
        DriverConformance as DriverConformance,
    )

__all__ = ["DriverConformance"]


def __getattr__(name: str) -> object:
    # Who wants only the loopback cloud needs no pytest.
    if name == "DriverConformance":
        from poolmgr.testing.conformance import DriverConformance

        return DriverConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
