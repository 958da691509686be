"""Several requests, few cores: each works for about a second, then it is the next one's turn."""

import threading
from collections.abc import Generator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue

import torch


class Turns:
    """Threads that carry out generators, in order of arrival; where one pauses it goes to the end of the line.

    So nobody waits behind one long recording, and those that are equally long end in order of arrival.
    """

    def __init__(self, workers: int | None = None):
        """As many threads as torch uses, unless given."""
        self._line: SimpleQueue[tuple[Generator, Future] | None] = SimpleQueue()
        workers = workers or torch.get_num_threads()
        self._threads = [threading.Thread(target=self._work) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Generator) -> Future:
        """What `work` returns or raises. A future that is cancelled ends the work where it pauses next."""
        future = Future()
        self._line.put((work, future))
        return future

    def stop(self) -> None:
        """End all work where it pauses next."""
        for _ in self._threads:
            self._line.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        torch.set_num_threads(1)  # requests run side by side, and more would only wait for each other
        while (entry := self._line.get()) is not None:
            work, future = entry
            try:
                if not future.cancelled():
                    next(work)
                    self._line.put(entry)
                    continue
                work.close()
            except StopIteration as end:
                with suppress(InvalidStateError):  # cancelled just now
                    future.set_result(end.value)
            except Exception as error:
                with suppress(InvalidStateError):
                    future.set_exception(error)
