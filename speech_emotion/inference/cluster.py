"""Predictor on all machines of a Ray cluster."""

import logging
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from speech_emotion.audio.files import is_url
from speech_emotion.inference.predictor import Predictor, Statistics
from speech_emotion.inference.recording import Answer
from speech_emotion.models.checkpoint import Checkpoint
from speech_emotion.models.network import choose_emotions
from speech_emotion.optional import needed_by

if TYPE_CHECKING:
    import ray

_LARGEST_BLOCK = 512  # recordings per task: a few seconds of work, which are lost with a machine
_BLOCKS_PER_PROCESS = 4  # at least, so that all processes finish at about the same time
_FETCHES = 16  # parallel downloads per core: a bucket answers more slowly than a recording is classified
_ANSWER_S = 10  # time for a cluster to accept a connection
_RETRIES = 3  # of a task whose process died, perhaps from a recording in it


class ClusterPredictor:
    """A checkpoint, ready to classify on a cluster: one process with a Predictor per core, or per GPU."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        address: str = "local",
        speech_only: bool | None = None,
        emotions: Sequence[str] = (),
    ):
        """`address` is `local` (a cluster of this machine alone), `auto` or `host:port`; the others as in Predictor.

        Raises ConnectionError if no cluster answers, ValueError for a device that the cluster does not have.
        """
        self.labels, _ = choose_emotions(checkpoint.labels, emotions)
        self.digest, self.temperature = checkpoint.digest, checkpoint.temperature
        self.network = checkpoint.network.for_inference()  # for the statistics
        self.speech_only = self.network.speech_only if speech_only is None else speech_only
        ray = _connect(address)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        with_gpu = [node for node in nodes if node.get("GPU")]
        if device == "mps" or (device == "cuda" and not with_gpu):
            raise ValueError(f"the cluster has no {device} device; --device cpu always works")
        if with_gpu and device != "cpu":
            device, self._gpus = "cuda", 1
            self._cpus = max(1, int(min(node.get("CPU", 0) / node["GPU"] for node in with_gpu)))
            self._processes = int(sum(node["GPU"] for node in with_gpu))
        else:
            device, self._gpus, self._cpus = "cpu", 0, 1
            self._processes = max(1, int(sum(node.get("CPU", 0) for node in nodes)))
        self._predictor = ray.put(checkpoint), device, self.speech_only, tuple(emotions)

    def answers(
        self,
        paths: Iterable[str | Path],
        batch_size: int = 16,
        workers: int | None = None,
        statistics: Statistics | None = None,
        **reading,
    ) -> Iterator[Answer]:
        """As Predictor.answers, by at most `workers` processes; a recording is tried again where one dies.

        Raises RuntimeError if the cluster cannot finish.
        """
        return self._spread("answers", paths, batch_size, workers, statistics=statistics, **reading)

    def embeddings(
        self, paths: Iterable[str | Path], batch_size: int = 16, workers: int | None = None, **reading
    ) -> Iterator[tuple[str, dict[int, torch.Tensor]]]:
        """As Predictor.embeddings; otherwise as answers."""
        return self._spread("embeddings", paths, batch_size, workers, **reading)

    def _spread(self, method: str, paths: Iterable[str | Path], batch_size: int, workers: int | None, **options):
        """The results of a `method` of Predictor, in the order of the paths."""
        import ray

        paths, processes = list(map(os.fspath, paths)), workers or self._processes
        size = max(batch_size, min(_LARGEST_BLOCK, len(paths) // (_BLOCKS_PER_PROCESS * processes)))
        needs = {"num_cpus": self._cpus, "num_gpus": self._gpus, "max_retries": _RETRIES}
        task = ray.remote(max_calls=0, **needs)(_results)  # so that a process on a GPU, too, keeps its Predictor
        running: deque[ray.ObjectRef] = deque()
        try:
            for begin in range(0, len(paths), size):
                if len(running) == (workers or _BLOCKS_PER_PROCESS * processes):
                    yield from ray.get(running.popleft())
                block = paths[begin : begin + size]
                threads = self._cpus * (_FETCHES if is_url(block[0]) else 1)
                running.append(task.remote(self._predictor, os.getcwd(), method, block, batch_size, threads, **options))
            while running:
                yield from ray.get(running.popleft())
        except ray.exceptions.RayError as error:
            raise RuntimeError(f"the cluster gave up: {_last_line(error)}") from error


def _results(predictor: tuple, folder: str, method: str, *arguments, **options) -> list:
    """The results of a `method` of Predictor, in a process of the cluster."""
    with suppress(OSError):  # relative paths cannot work on a machine without this folder
        os.chdir(folder)
    return list(getattr(_predictor(*predictor), method)(*arguments, **options))


@cache
def _predictor(checkpoint: "ray.ObjectRef", device: str, speech_only: bool, emotions: tuple[str, ...]) -> Predictor:
    import ray

    return Predictor(ray.get(checkpoint), device, speech_only, emotions)


def _connect(address: str):
    """The module ray, connected to a cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # no usage reports
    options = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        options["include_dashboard"] = False
        # On loopback alone, as Ray does by itself on other systems than Linux; it looks when it is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    with needed_by("--ray", "ray"):
        import ray
    umask = os.umask(0o077)  # Ray's token, with which anybody may run code on the cluster, is its owner's alone
    try:
        if address not in ("local", "auto"):  # Ray itself would keep trying for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        package = {"py_modules": [str(Path(__file__).parent.parent)]}  # sent along; packages must be installed there
        ray.init(address, runtime_env=package, **options)
    except Exception as error:
        raise ConnectionError(f"cannot use the Ray cluster {address}: {_last_line(error)}") from error
    finally:
        os.umask(umask)
    return ray


def _last_line(error: BaseException) -> str:
    """The cause of an error, without the tracebacks in Ray's messages."""
    while error.__cause__:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
