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

from poolmgr.testing.conformance import DriverConformance

__all__ = ["DriverConformance"]
