"""Threads for the work."""

import queue
import threading
from collections.abc import Callable


class ThreadPool:
    """Threads that come when they are needed and go when they are not.

    Unlike :class:`concurrent.futures.ThreadPoolExecutor` it has no upper
    bound (who hands work in has one) and its threads are daemons: a plugin
    that never returns costs its thread, neither a place for others nor the
    end of the process.

    :param name: the threads' name
    :param idle: seconds that a thread waits for more work
    """

    def __init__(self, name: str, idle: float = 10.0) -> None:
        self._name = name
        self._idle_seconds = idle
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = 0

    def run(self, work: Callable[[], None]) -> None:
        """Have the work done by a thread, now.

        :param work: must not raise
        """
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._work.put(work)
                return
        threading.Thread(
            target=self._serve, args=(work,), name=self._name, daemon=True
        ).start()

    def _serve(self, work: Callable[[], None]) -> None:
        while True:
            work()
            del work  # its job must not live on while the thread is idle
            with self._lock:
                self._idle += 1
            try:
                work = self._work.get(timeout=self._idle_seconds)
            except queue.Empty:
                with self._lock:
                    if self._work.empty():
                        self._idle -= 1
                        return
                    work = self._work.get()
