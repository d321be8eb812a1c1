"""OpenStack, by its SDK: servers of Nova, floating IPs of Neutron."""

from poolmgr.drivers.nova.connection import connection_of
from poolmgr.drivers.nova.driver import NovaCloud
from poolmgr.drivers.nova.settings import NovaSettings

__all__ = ["NovaCloud", "NovaSettings", "connection_of"]
