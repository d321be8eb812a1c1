"""Neutron's WSGI application, ready before its first request.

Neutron 29 shows its policy engine to other threads before the rules are in
it. Of several first requests at once some would be refused, or be shown an
empty list; so the rules are loaded here.
"""

from neutron import policy
from neutron.wsgi.api import application

__all__ = ["application"]

policy.init()
