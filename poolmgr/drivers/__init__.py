"""Clouds: the contract in :mod:`~poolmgr.drivers.base`, a module a cloud."""
