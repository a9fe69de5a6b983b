"""Where chunks are worked on: in this process, or on a Ray cluster. Both hand them to the same worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Protocol, final

from domains.docking.screen.chunks import Chunk
from domains.docking.screen.worker import ChunkWorker, Job, Row
from domains.errors import InputError, InputProblem

_AHEAD: Final = 2  # chunks a worker holds: one is docked while the conformers of the other are made
_TRIES: Final = 3  # of a chunk whose worker died


class Engine(Protocol):
    """Takes chunks, and answers in whatever order they are done."""

    @property
    def capacity(self) -> int:
        """How many chunks it can hold."""

    def submit(self, chunk: Chunk) -> Future[list[Row]]:
        """The rows of a chunk, when they are there."""

    def stop(self) -> None:
        """End its workers; what they are at is lost."""


@final
class LocalEngine:
    """Threads of this process.

    Args:
        process: what is done with a chunk, such as :meth:`ChunkWorker.process`; called from two threads.
        cancel: called first when it ends, so that chunks at work are given up.
        stop: called last.
    """

    capacity = _AHEAD

    def __init__(
        self,
        process: Callable[[Chunk], list[Row]],
        cancel: Callable[[], None] = lambda: None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._process, self._cancel, self._stop = process, cancel, stop
        self._threads = ThreadPoolExecutor(_AHEAD)

    def submit(self, chunk: Chunk) -> Future[list[Row]]:
        """See :class:`Engine`."""
        return self._threads.submit(self._process, chunk)

    def stop(self) -> None:
        """See :class:`Engine`."""
        self._cancel()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._stop()


def local_engine(job: Job, processes: int) -> LocalEngine:
    """The engine of one machine."""
    worker = ChunkWorker(job, processes)
    return LocalEngine(worker.process, worker.cancel, worker.stop)


@final
class RayEngine:
    """Actors of a Ray cluster, one worker each. A chunk whose actor dies is given to another one.

    Args:
        job: see :class:`Job`.
        address: of the cluster; None starts one on this machine.
        actors: how many; None = one for every GPU if the model is on one, else one for every two CPUs.
        processes: that make conformers, for each actor.

    Raises:
        InputError: if Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, job: Job, address: str | None, actors: int | None, processes: int) -> None:
        try:
            import ray  # an extra
        except ImportError as error:
            problem = InputProblem(
                "--engine", "", "ray is not installed", "pip install '.[ray]' in a copy of the repository"
            )
            raise InputError(problem) from error
        self._ray: Any = ray
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            message = f"no Ray cluster answers at '{address}' ({' '.join(str(error).split())})"
            raise InputError(InputProblem("--address", "", message, "start one with: ray start --head")) from error
        on_gpu = job.plan.model.device.type == "cuda"
        resources = self._ray.cluster_resources()
        most = int(resources.get("GPU", 0)) if on_gpu else int(resources.get("CPU", 1)) // 2
        count = max(1, most) if actors is None else actors
        # Conformers are made by processes of the actor while it docks, so an actor counts for one CPU.
        make: Any = ray.remote(ChunkWorker)  # its stubs lack the options of actors
        actor = make.options(
            num_cpus=1,
            num_gpus=1 if on_gpu else 0,
            max_restarts=-1,
            max_task_retries=_TRIES - 1,
            max_concurrency=_AHEAD,
        )
        self._job = ray.put(job)  # kept: an actor that is started again needs it again
        self._actors = [actor.remote(self._job, processes) for _ in range(count)]
        self._held = [0] * count
        self._lock = threading.Lock()
        self.capacity = _AHEAD * count

    def submit(self, chunk: Chunk) -> Future[list[Row]]:
        """See :class:`Engine`; the least busy actor gets the chunk."""
        with self._lock:
            index = min(range(len(self._held)), key=self._held.__getitem__)
            self._held[index] += 1
        call = self._actors[index].process.remote(chunk)
        future: Future[list[Row]] = call.future()
        future.add_done_callback(lambda _: self._release(index))
        return future

    def stop(self) -> None:
        """See :class:`Engine`."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._ray.shutdown()

    def _release(self, index: int) -> None:
        with self._lock:
            self._held[index] -= 1


def worker_is_gone(error: BaseException) -> bool:
    """Whether this is how Ray says that all tries of a chunk ended with a dead worker."""
    kinds: tuple[Any, ...] = ()
    try:
        from ray.exceptions import RayActorError, WorkerCrashedError

        kinds = (RayActorError, WorkerCrashedError)
    except ImportError:
        return False
    return isinstance(error, kinds)
