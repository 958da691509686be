"""Predictor on all machines of a Ray cluster."""

import logging
import os
import pickle
import socket
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from math import ceil
from pathlib import Path

import torch

from speech_emotion.audio.buckets import is_url
from speech_emotion.inference.predictor import Predictor, Statistics
from speech_emotion.inference.recording import Answer
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.optional import needed_by

with needed_by("--ray", "ray"):
    import pyarrow as pa
    import ray
    import ray.data
    from ray._private import ray_constants

_LARGEST_BLOCK = 512  # recordings per task: a few seconds of work, which are lost with a machine
_BLOCKS_PER_ACTOR = 4  # at least, so that all actors finish at about the same time
_FETCHES = 16  # parallel downloads per core: a bucket answers more slowly than a recording is classified
_ANSWER_S = 10  # time for a cluster to accept a connection
_RETRIES = 3  # of a task whose process died, perhaps from a recording in it


class ClusterPredictor:
    """A checkpoint, ready to classify on a cluster: one process with a Predictor per core, or per GPU."""

    def __init__(
        self, model: str | Path, device: str = "auto", address: str = "local", speech_only: bool | None = False
    ):
        """`address` is `local` (a cluster of this machine alone), `auto` or `host:port`; `speech_only` as in Predictor.

        Raises CheckpointError for an unreadable model, ConnectionError if no cluster answers, ValueError for a device
        that the cluster does not have.
        """
        checkpoint = load_checkpoint(model)
        self.labels, self.digest, self.temperature = checkpoint.labels, checkpoint.digest, checkpoint.temperature
        self.network, self.device = checkpoint.network.for_inference(), torch.device("cpu")  # for the statistics
        _connect(address)
        self._checkpoint = ray.put(checkpoint)
        self.speech_only = self.network.speech_only if speech_only is None else speech_only
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        with_gpu = [node for node in nodes if node.get("GPU")]
        if device == "mps" or (device == "cuda" and not with_gpu):
            raise ValueError(f"the cluster has no {device} device; --device cpu always works")
        if with_gpu and device != "cpu":
            self._device, self._gpus = "cuda", 1
            self._cpus = max(1, int(min(node.get("CPU", 0) / node["GPU"] for node in with_gpu)))
            self._actors = int(sum(node["GPU"] for node in with_gpu))
        else:
            self._device, self._gpus, self._cpus = "cpu", 0, 1
            self._actors = int(sum(node.get("CPU", 0) for node in nodes))

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
        encoded = [os.fsencode(path) for path in paths]  # Arrow strings must be UTF-8
        if not encoded:
            return
        actors = workers or max(1, self._actors)
        block = max(batch_size, min(_LARGEST_BLOCK, len(encoded) // (_BLOCKS_PER_ACTOR * actors)))
        blocks = ray.data.from_arrow(pa.table({"path": encoded}), override_num_blocks=ceil(len(encoded) / block))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray warns that a later version may take the retries elsewhere
            results = blocks.map_batches(
                _Actor,
                fn_args=(method, batch_size, self._cpus, options),
                fn_constructor_args=(self._checkpoint, self._device, self.speech_only, os.getcwd()),
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
                num_cpus=self._cpus,
                num_gpus=self._gpus,
                max_task_retries=_RETRIES,
            )
        try:
            for batch in results.iter_batches(batch_size=None, batch_format="pyarrow"):
                for result in batch["result"]:
                    yield pickle.loads(result.as_py())
        except ray.exceptions.RayError as error:
            raise RuntimeError(f"the cluster gave up: {_last_line(error)}") from error


class _Actor:
    """A process of the cluster that holds the model."""

    def __init__(self, checkpoint: ray.ObjectRef, device: str, speech_only: bool, folder: str):
        self.predictor = Predictor(ray.get(checkpoint), device, speech_only)
        with suppress(OSError):  # relative paths cannot work on a machine without this folder
            os.chdir(folder)

    def __call__(self, batch: pa.Table, method: str, batch_size: int, cpus: int, options: dict) -> pa.Table:
        paths = [os.fsdecode(path) for path in batch["path"].to_pylist()]
        threads = cpus * (_FETCHES if is_url(paths[0]) else 1)
        results = getattr(self.predictor, method)(paths, batch_size, threads, **options)
        return pa.table({"result": [pickle.dumps(result) for result in results]})


def _connect(address: str) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # no usage reports
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"  # of Ray's own processes, and of its core in this one
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    local = {}
    if address == "local":
        local["include_dashboard"] = False
        # On loopback alone, as Ray does by itself on other systems than Linux; the first is for its processes.
        os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
        ray_constants.ENABLE_RAY_CLUSTER = False
    package = {"py_modules": [str(Path(__file__).parent.parent)]}  # sent along; packages must be installed there
    try:
        if address not in ("local", "auto"):  # Ray itself would keep trying for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        with _silence(), _private():
            ray.init(address, runtime_env=package, **quiet, **local)
    except Exception as error:
        raise ConnectionError(f"cannot use the Ray cluster {address}: {_last_line(error)}") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = context.print_on_execution_start = False


@contextmanager
def _silence():
    """Ray's core says on stderr that it heeds its log level, and it does not know sys.stderr."""
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextmanager
def _private():
    """Ray's token, with which anybody may run code on the cluster, is its owner's alone, also one from before."""
    umask = os.umask(0o077)
    try:
        with suppress(OSError):
            (Path.home() / ".ray" / "auth_token").chmod(0o600)
        yield
    finally:
        os.umask(umask)


def _last_line(error: BaseException) -> str:
    """The cause of an error, without the tracebacks in Ray's messages."""
    while error.__cause__:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
