"""Two actions and a driver for poolmgr, as an example."""
