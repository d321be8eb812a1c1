"""Neutron's WSGI application with its policy rules loaded.

Neutron 29 publishes its policy engine to other threads before it has loaded
the rules. Without this module, some of several concurrent first requests would
be refused or get an empty list.
"""

from neutron import policy
from neutron.wsgi.api import application

__all__ = ["application"]

policy.init()
