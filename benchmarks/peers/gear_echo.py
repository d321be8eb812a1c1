"""An echo on the package gear: ``gear_echo.py HOST PORT FUNCTION [nodelay]``.

gear sets no TCP_NODELAY; with ``nodelay`` it is set for it, which is the best
that the package can do.
"""

import socket
import sys

import gear

host, port, function, *options = sys.argv[1:]
worker = gear.Worker("echo")
worker.addServer(host, int(port))
worker.waitForServer()
if "nodelay" in options:
    for connection in worker.active_connections:
        connection.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
worker.registerFunction(function)
while True:
    job = worker.getJob()
    job.sendWorkComplete(job.arguments)
