"""Example: two actions and a driver for poolmgr."""
