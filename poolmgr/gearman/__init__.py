"""A Gearman transport on asyncio and the standard library.

It knows nothing of pools and clouds.

- :mod:`~poolmgr.gearman.worker`: takes jobs from several job servers
- :mod:`~poolmgr.gearman.assignment`: an assigned job, which has to be answered
- :mod:`~poolmgr.gearman.client`: submits jobs and waits for their answers
- :mod:`~poolmgr.gearman.admin`: queries a job server's state
- :mod:`~poolmgr.gearman.server`: a job server for demonstrations and tests
- :mod:`~poolmgr.gearman.connection`: a connection to a job server
- :mod:`~poolmgr.gearman.endpoint`: addresses, options, sockets, TLS
- :mod:`~poolmgr.gearman.protocol`: the packets
"""
