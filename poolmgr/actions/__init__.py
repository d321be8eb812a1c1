"""What jobs can ask for: the contract in :mod:`~poolmgr.actions.base`, and
one module an action."""
