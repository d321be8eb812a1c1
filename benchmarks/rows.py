"""The rows: each function measures and returns its figures by label."""

import asyncio
import os
import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.rig import (
    FUNCTION,
    PEERS,
    Cloud,
    Gearmand,
    Tree,
    cloud,
    compiled,
    cpu,
    passed,
    process,
    rate,
    rss,
    threads,
    worker,
)
from poolmgr.gearman.client import Client
from poolmgr.testing.openstack import LoopbackCloud

Figures = dict[str, float]

#: Seconds of a call to the loopback cloud.
LATENCY = 0.05
_ASSIGNMENTS = 100


async def waiting_1000(tree: Tree) -> Figures:
    """The cost of 1,000 waiting builds, and their effect on ASSIGN_IP."""
    return await _waiting(tree, 1000, 20.0)


async def waiting_10000(tree: Tree) -> Figures:
    """The cost of 10,000 waiting builds, and their effect on ASSIGN_IP."""
    return await _waiting(tree, 10000, 20.0)


async def _waiting(tree: Tree, builds: int, seconds: float) -> Figures:
    limits = {
        "OS_WORKER__LONG_JOBS": str(builds + 1),
        "OS_POOLMGR__LONG_TIMEOUT": "86400",
    }
    with cloud(latency=LATENCY) as there:
        async with Gearmand() as server:
            with worker(tree, server, {**there.environment, **limits}) as pid:
                async with Client([server.address]) as client:
                    name = (await passed(client, "BUILD_DEVICE"))["name"]
                    ip = (await passed(client, "BUILD_IP"))["ip"]
                    alone = await _assignments(client, ip, name, 20)
                    await _let_wait(client, there, builds)
                    await asyncio.sleep(seconds / 2)
                    before, began = cpu(pid), time.monotonic()
                    await asyncio.sleep(seconds)
                    used = cpu(pid) - before
                    took = time.monotonic() - began
                    during = await _assignments(client, ip, name, _ASSIGNMENTS)
                    p99 = statistics.quantiles(during, n=100)[98]
                    return {
                        "RSS, MiB": rss(pid),
                        "threads": threads(pid),
                        "CPU while they wait, %": 100 * used / took,
                        "ASSIGN_IP p99 over the time alone, s": p99
                        - statistics.median(alone),
                    }


async def _let_wait(client: Client, there: Cloud, builds: int) -> None:
    """Start builds that never boot; wait until all servers are requested."""
    there.fault(
        method="POST", path="/servers", times=None, fate={"stuck": True}
    )
    for _build in range(builds):
        await client.submit(FUNCTION, b'{"action": "BUILD_DEVICE"}')
    while there.counts()["compute POST 202"] < builds + 1:
        await asyncio.sleep(0.5)


async def _assignments(
    client: Client, ip: str, name: str, times: int
) -> list[float]:
    took = []
    for _time in range(times):
        started = time.monotonic()
        await passed(client, "ASSIGN_IP", ip=ip, name=name)
        took.append(time.monotonic() - started)
        await passed(client, "REMOVE_IP", ip=ip, name=name)
    return took


async def calls(tree: Tree) -> Figures:
    """Cloud calls for each job, with 50 jobs at once."""
    found: Figures = {}
    with cloud(latency=LATENCY, boot_time=5.0) as there:
        async with Gearmand() as server:
            with worker(tree, server, there.environment):
                await server.has_worker(FUNCTION)
                await asyncio.sleep(2.0)  # the worker's check at its start
                async with Client([server.address]) as client:

                    async def run(
                        action: str, jobs: list[dict[str, str]]
                    ) -> list[dict[str, str]]:
                        before = _calls(there)
                        answers = await asyncio.gather(
                            *(passed(client, action, **job) for job in jobs)
                        )
                        made = _calls(there) - before
                        found[f"calls a {action}"] = made / len(jobs)
                        return answers

                    nothing: dict[str, str] = {}
                    built = await run("BUILD_DEVICE", [nothing] * 50)
                    ips = await run("BUILD_IP", [nothing] * 50)
                    pairs = [
                        {"name": device["name"], "ip": ip["ip"]}
                        for device, ip in zip(built, ips, strict=True)
                    ]
                    await run("ASSIGN_IP", pairs)
                    await run("REMOVE_IP", pairs)
                    names = [{"name": device["name"]} for device in built]
                    await run("DELETE_DEVICE", names)
    return found


def _calls(there: Cloud) -> int:
    return sum(
        number
        for call, number in there.counts().items()
        if not call.startswith("identity")
    )


async def fill(tree: Tree) -> Figures:
    """The time for 500 devices at 20 calls a second, beside the minimum."""
    devices, limit, boot, spread, seed = 500, 20.0, 32.5, 27.5, 1
    chance = random.Random(seed)
    boots = [boot + chance.uniform(-spread, spread) for _ in range(devices)]
    # The calls of one second may be made at once; then the rate limit applies.
    least = LATENCY + max(
        max(0.0, (number + 1 - limit) / limit) + LATENCY + each
        for number, each in enumerate(boots)
    )
    options = {
        "latency": LATENCY,
        "boot_time": boot,
        "boot_spread": spread,
        "boot_seed": seed,
        "rate_limit": limit,
    }
    told = {"OS_NOVA__CALLS_PER_SECOND": str(limit)}
    with cloud(**options) as there:
        async with Gearmand() as server:
            with worker(tree, server, {**there.environment, **told}):
                await server.has_worker(FUNCTION)
                await asyncio.sleep(2.0)
                async with Client([server.address]) as client:
                    began = time.monotonic()
                    jobs = (
                        passed(client, "BUILD_DEVICE")
                        for _device in range(devices)
                    )
                    await asyncio.gather(*jobs)
                    took = time.monotonic() - began
    return {"s": took, "beside the least": took / least}


async def build_ip(tree: Tree) -> Figures:
    """BUILD_IP a second for 50 clients, on a cloud with calls of 20 ms."""
    with cloud(latency=0.02) as there:
        async with Gearmand() as server:
            with worker(tree, server, there.environment):
                await server.has_worker(FUNCTION)
                payload = '{"action": "BUILD_IP"}'
                await rate(server, FUNCTION, payload, 50)
                return {
                    "jobs a second": await rate(
                        server, FUNCTION, payload, 1000
                    )
                }


async def transport(tree: Tree) -> Figures:
    """Echoes a second for 50 clients, beside a C worker on libgearman."""
    echo = compiled("echo", "-lgearman")
    own = [tree.python, str(PEERS / "own_echo.py")]
    found: Figures = {}
    async with Gearmand() as server:
        where = [server.address.host, str(server.address.port), "f"]
        for kind in ("threads", "loop"):
            with process(*own, *where, kind):
                found[kind] = await _echoes(server)
        if echo is not None:
            with process(echo, *where):
                base = await _echoes(server)
            for kind in ("threads", "loop"):
                found[f"{kind} beside C"] = found[kind] / base
    return found


async def _echoes(server: Gearmand) -> float:
    await server.has_worker("f")
    await rate(server, "f", "x" * 100, 50)
    return await rate(server, "f", "x" * 100, 20000)


async def restart(tree: Tree) -> Figures:
    """Seconds until a job is answered after gearmand was killed."""
    fake = {"OS_POOLMGR__DRIVER": "fake"}
    async with Gearmand() as server:
        with worker(tree, server, fake):
            await server.has_worker(FUNCTION)
            async with Client([server.address]) as client:
                await passed(client, "BUILD_IP")
            server.kill()
            await server.start()
            began = time.monotonic()
            async with Client([server.address]) as client:
                await passed(client, "BUILD_IP")
            return {"s": time.monotonic() - began}


_BARE = """
import sys
from cliff.app import App
from cliff.commandmanager import CommandManager
app = App("bare", "1", CommandManager("bare.cli"), deferred_help=True)
sys.exit(app.run(sys.argv[1:]))
"""


def startup(tree: Tree) -> Figures:
    """Seconds of commands, beside a bare cliff application."""
    poolmgr = [tree.python, "-P", "-m", "poolmgr"]
    bare = [tree.python, "-c", _BARE]
    sdk = [tree.python, "-c", "import openstack"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clouds.yaml"
        with LoopbackCloud(boot_time=0.0) as there:
            there.write_clouds_yaml(path)
            environment = Cloud("", str(path)).environment
            commands = {
                "import openstack": (sdk, []),
                "--version": (poolmgr, ["--version"]),
                "--help": (poolmgr, ["--help"]),
                "build-device, fake": (
                    poolmgr,
                    ["--driver", "fake", "build-device"],
                ),
                "build-device, OpenStack": (poolmgr, ["build-device"]),
            }
            times = {
                name: _seconds([*start, *rest], environment)
                for name, (start, rest) in commands.items()
            }
            version = _seconds([*bare, "--version"], environment)
            help_ = _seconds([*bare, "--help"], environment)
    return {
        f"{name} beside bare": took / (help_ if name == "--help" else version)
        for name, took in times.items()
    }


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    # The first run compiles the tree, as an installation does.
    compile_ = {"PYTHONDONTWRITEBYTECODE": ""}
    took = []
    for _time in range(5):
        began = time.perf_counter()
        subprocess.run(
            command,
            env={**os.environ, **compile_, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def entries(tree: Tree) -> Figures:
    """poolmgr's own functions in a BUILD_DEVICE on OpenStack."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clouds.yaml"
        with LoopbackCloud(boot_time=0.0) as there:
            there.write_clouds_yaml(path)
            environment = Cloud("", str(path)).environment
            said = subprocess.run(
                [tree.python, str(PEERS / "entries.py")],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=True,
            )
    names = "calls", "on the stacks of a creation", "their modules"
    return dict(zip(names, map(float, said.stdout.split()), strict=True))
