"""An echo on python3-gearman: ``gearman3_echo.py HOST PORT FUNCTION``."""

import sys

import python3_gearman

host, port, function = sys.argv[1:]
worker = python3_gearman.GearmanWorker([f"{host}:{port}"])
worker.register_task(function, lambda _worker, job: job.data)
worker.work()
