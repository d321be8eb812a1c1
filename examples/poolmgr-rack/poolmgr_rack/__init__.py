"""An action and a driver for poolmgr, as an example."""
