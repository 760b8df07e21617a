"""Worker processes: files in parallel; one that dies costs its file one retry, not the run."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

__all__ = ["Died", "run_jobs"]

_PR_SET_PDEATHSIG = 1


class Died:
    """Stands for the result of a job whose worker died, twice."""

    def __init__(self, exit_code: int | None) -> None:
        self.exit_code = exit_code

    def __str__(self) -> str:
        code = self.exit_code or 0
        if code >= 0:
            return f"the worker process ended with exit code {code}, twice"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"the worker process died by {name}, twice"


def _serve(connection: Connection, function: Callable[..., Any]) -> None:
    """Work until the parent closes the connection."""
    # The terminal's Ctrl-C goes to all processes; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.platform == "linux":  # nothing may be written when the parent has lost the folder
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        result = function(*job)
        try:
            connection.send(result)
        except BrokenPipeError:  # the parent is dead
            return


class _Worker:
    def __init__(self, function: Callable[..., Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(other, function))
        self.process.start()
        other.close()
        self.job: int | None = None

    def stop(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


def run_jobs(
    function: Callable[..., Any], jobs: Sequence[Sequence[Any]], n_workers: int
) -> Iterator[Any]:
    """Call a function with the arguments of each job, in worker processes.

    Parameters
    ----------
    function
        Importable; its arguments and results can be pickled.
    jobs
        Arguments of each call.
    n_workers
        Processes.

    Yields
    ------
    object
        The results, in the order of the jobs; `Died` where two workers died on one.
    """
    waiting = deque(range(len(jobs)))
    results: dict[int, Any] = {}
    tried: dict[int, int] = {}
    workers: list[_Worker] = []
    next_result = 0
    try:
        while next_result < len(jobs):
            while len(workers) < min(n_workers, len(jobs)):
                workers.append(_Worker(function))
            for worker in workers:
                if worker.job is None and waiting:
                    worker.job = waiting.popleft()
                    with contextlib.suppress(BrokenPipeError):  # it died while idle: see below
                        worker.connection.send(tuple(jobs[worker.job]))
            busy = {w.connection: w for w in workers if w.job is not None}
            for ready in wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                job = worker.job
                assert job is not None
                try:
                    results[job] = worker.connection.recv()
                    worker.job = None
                except (EOFError, ConnectionResetError):
                    worker.process.join()
                    workers.remove(worker)
                    tried[job] = tried.get(job, 0) + 1
                    if tried[job] < 2:
                        waiting.appendleft(job)
                    else:
                        results[job] = Died(worker.process.exitcode)
            while next_result in results:
                yield results.pop(next_result)
                next_result += 1
    finally:
        for worker in workers:
            worker.stop()
