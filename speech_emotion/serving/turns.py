"""Scheduling of requests on a few threads: each runs for about a second, then it is the next one's turn."""

import threading
import time
from collections.abc import Generator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue

import torch

_LONGEST_S = 2.0  # duration of a step, after which its thread is replaced by another


class Turns:
    """Threads that run generators in order of arrival; one that yields goes to the end of the queue.

    So a long recording does not block others, and recordings of equal length finish in order of arrival. If a step
    takes too long, such as in a decoder that finds no sound, another thread is added, so that the others can go on.
    """

    def __init__(self, workers: int | None = None):
        """Starts as many threads as torch uses, or `workers`; more while some are overdue."""
        self._line: SimpleQueue[tuple[Generator, Future] | None] = SimpleQueue()
        self._stopped = threading.Event()
        self._threads: list[_Worker] = []  # including overdue ones
        for _ in range(workers or torch.get_num_threads()):
            self._add_worker()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def submit(self, work: Generator) -> Future:
        """A future of what `work` returns or raises. Cancelling it ends the work at its next yield."""
        future = Future()
        self._line.put((work, future))
        return future

    def stop(self, patience_s: float = 2.0) -> bool:
        """End all work at its next yield. Returns False if threads are left because some did not yield in time."""
        self._stopped.set()
        self._watcher.join()
        for _ in self._threads:
            self._line.put(None)
        deadline = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _add_worker(self) -> None:
        worker = _Worker(self._line, self._stopped)
        self._threads.append(worker)
        worker.start()

    def _watch(self) -> None:
        while not self._stopped.wait(_LONGEST_S / 4):
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for worker in list(self._threads):
                if not worker.is_replaced and time.monotonic() - worker.since > _LONGEST_S:
                    worker.is_replaced = True
                    self._add_worker()


class _Worker(threading.Thread):
    def __init__(self, line: SimpleQueue, stopped: threading.Event):
        super().__init__(daemon=True)
        self.since = float("inf")  # when its step began
        self.is_replaced = False  # then its current step is the last
        self._line, self._stopped = line, stopped

    def run(self) -> None:
        torch.set_num_threads(1)  # requests run in parallel, so more threads would only compete
        while not self.is_replaced and (entry := self._line.get()) is not None:
            self.since = time.monotonic()
            if self._step(*entry):
                self._line.put(entry)
            self.since = float("inf")

    def _step(self, work: Generator, future: Future) -> bool:
        """Run the work to its next yield; returns whether there is more to do."""
        try:
            if not future.cancelled() and not self._stopped.is_set():
                next(work)
                return True
            work.close()
            future.cancel()
        except StopIteration as end:
            with suppress(InvalidStateError):  # cancelled just now
                future.set_result(end.value)
        except Exception as error:
            with suppress(InvalidStateError):
                future.set_exception(error)
        return False
