"""Jobs on the workers of a Dask cluster: on those only that work in this project, with this code.

Each worker shows that before it gets a job (`pipeline.machine.handshake`), those too that come
later: by an adaptive cluster, or for one that was killed. A job asks for its memory; a record that
a worker says it has made must lie here.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from cache.errors import ProbelineError
from pipeline.machine.environment import cluster_seconds
from pipeline.machine.handshake import PLACE, Answer, Hello, greet, hello, is_here
from pipeline.machine.memory import in_units
from pipeline.machine.progress import Progress

VARIABLE = "DASK_SCHEDULER_ADDRESS"

LOOK_SECONDS = 1.0
"""Between two looks for new workers."""

SEEN_SECONDS = 10.0
"""Until what another host wrote is seen on a shared file system, at most."""

Work: TypeAlias = Callable[[Any], int]
"""Does a job on a worker, and says how much it was."""

_log = logging.getLogger(__name__)


class Crew:
    """The workers of a cluster that take this client's jobs.

    Parameters
    ----------
    client : distributed.Client
    address : str
        Of the scheduler, for messages.
    """

    def __init__(self, client: Any, address: str) -> None:
        self.client, self._address = client, address
        self.said = hello()
        self._known: dict[str, Answer] = {}
        self._since = time.monotonic()

    def look(self, need: int = 1) -> bool:
        """Greet workers that are new; forget those that have gone.

        Parameters
        ----------
        need : int
            Bytes of the largest job.

        Returns
        -------
        bool
            False when for `cluster_seconds` no worker was there that has so much.

        Raises
        ------
        ProbelineError
            When for so long no worker at all was there that may take jobs: says why of each.
        """
        there = list(self.client.nthreads())
        self._known = {at: answer for at, answer in self._known.items() if at in there}
        new = [at for at in there if at not in self._known]
        if new:
            answers = self.client.run(greet, self.said, workers=new, on_error="return")
            for at, answer in answers.items():
                self._known[at] = self._judged(at, answer)
                if self._known[at].faults:
                    _log.warning("no jobs for %s", _described(self._known[at]))
        if self.memory >= max(1, need):
            self._since = time.monotonic()
        in_time = time.monotonic() - self._since <= cluster_seconds()
        if not in_time and not self.memory:
            raise self._without_workers()
        return in_time

    def wait(self) -> None:
        """Until a worker is there that may take jobs; an adaptive cluster is asked for one."""
        wish = None
        while True:
            self.look()
            if self.memory:
                return
            if wish is None:
                wish = self.client.submit(_nothing, pure=False)
                limit = cluster_seconds()
                _log.warning("waiting up to %d s for workers of %s", limit, self._address)
            time.sleep(min(LOOK_SECONDS, cluster_seconds() / 2))

    @property
    def memory(self) -> int:
        """Bytes that the jobs of the largest worker may take; 0 where there is none."""
        return max((each.memory for each in self._known.values() if not each.faults), default=0)

    def close(self) -> None:
        """Remove the token: no worker does a job of this client any more."""
        self.said.path.unlink(missing_ok=True)

    def _judged(self, address: str, answer: Any) -> Answer:
        if not isinstance(answer, Answer):  # it could not even load the question
            said = f"can't run Probeline: {type(answer).__name__}: {answer}"
            return Answer(address, (said,))
        if answer.faults:
            return answer
        reply = PLACE / answer.reply
        if not _seen(reply.exists):
            said = f"writes what is not seen in {self.said.folder}"
            return Answer(answer.name, (said,))
        reply.unlink()
        return answer

    def _without_workers(self) -> ProbelineError:
        refused = [_described(each) for each in self._known.values()]
        return ProbelineError(
            f"the Dask cluster at {self._address}",
            f"has had no worker for this project for {cluster_seconds()} s",
            expected="workers in the project's folder, with the same code and versions",
            found="\n            ".join(refused) or "no worker at all",
            remedy=f"on each host: cd {self.said.folder} && dask worker {self._address}; "
            "PROBELINE_CLUSTER_SECONDS=600 waits longer",
        )


def run_on_cluster(
    work: Work,
    jobs: Sequence[tuple[Any, str, int]],
    is_done: Callable[[Any], bool] | None,
    progress: Progress,
) -> Generator[Callable[[], object], None, None]:
    """Do jobs on the cluster at ``DASK_SCHEDULER_ADDRESS``.

    Parameters
    ----------
    work : callable
    jobs : sequence of (job, str, int)
        Each with its name and its bytes.
    is_done : callable, optional
        Whether a job's result lies here.
    progress : Progress

    Yields
    ------
    callable
        For each job as it ends; raises its error.

    Raises
    ------
    ProbelineError
        When no scheduler answers, or no worker may take jobs.
    """
    with _crew() as crew:
        calls = {
            crew.client.submit(
                _on_worker, work, each[0], crew.said, pure=False,
                resources=crew.said.resources(each[2], 1),
            ): each
            for each in jobs
        }  # fmt: skip
        while calls:
            for call in _ended(calls):
                yield partial(_take, call, *calls.pop(call), is_done, progress)
            if not crew.look(max((size for *_, size in calls.values()), default=1)):
                for call in [c for c, (*_, size) in calls.items() if size > crew.memory]:
                    call.cancel()
                    yield partial(_too_large, *calls.pop(call)[1:], crew.memory)


def worker_memory() -> int:
    """Bytes that a job may take on the largest worker of the cluster.

    Raises
    ------
    ProbelineError
        See `run_on_cluster`.
    """
    with _crew() as crew:
        return crew.memory


@contextmanager
def _crew() -> Iterator[Crew]:
    """The workers of the cluster at ``DASK_SCHEDULER_ADDRESS``, one of which at least is there."""
    address = os.environ[VARIABLE]
    with _client(address) as client:
        crew = Crew(client, address)
        try:
            crew.wait()
            yield crew
        finally:
            crew.close()


def _client(address: str) -> Any:
    from distributed import Client

    try:
        return Client(address)
    except (OSError, ValueError, ImportError) as error:
        raise ProbelineError(
            f"environment variable {VARIABLE}",
            "no Dask scheduler answers there",
            expected="e.g. tcp://host:8786",
            found=f"{address} ({error})",
            remedy="start the scheduler, or unset the variable to use this machine",
        ) from None


def _ended(calls: dict[Any, Any]) -> list[Any]:
    from distributed import wait

    with suppress(TimeoutError):
        wait(list(calls), timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED")
    return [call for call in calls if call.done()]


def _take(
    call: Any,
    job: Any,
    name: str,
    size: int,
    is_done: Callable[[Any], bool] | None,
    progress: Progress,
) -> None:
    from distributed import CancelledError, KilledWorker

    try:
        count, worker = call.result()
    except KilledWorker as error:
        raise ProbelineError(
            name or "a job",
            "the workers that computed it were killed, one after the other",
            found=f"{error}; about {in_units(size)} reckoned",
            remedy="look at their logs, most likely for want of memory; give them more",
        ) from None
    except CancelledError as error:
        raise ProbelineError(
            name or "a job", "the cluster has dropped it", found=str(error),
            remedy="see that the scheduler runs, and run this again",
        ) from None  # fmt: skip
    if is_done is not None and not _seen(partial(is_done, job)):
        raise ProbelineError(
            name or "a job",
            "a worker has computed it, and its record is not here",
            found=f"worker in {worker}",
            remedy="see that all hosts share the project's folder",
        )
    progress.advance(count)


def _too_large(name: str, size: int, memory: int) -> None:
    raise ProbelineError(
        name or "a job",
        "needs more memory than any worker of the cluster has for it",
        expected=f"at most {in_units(memory)}",
        found=f"about {in_units(size)}",
        remedy="start a worker with more (dask worker --memory-limit), or ask for less",
    )


def _on_worker(work: Work, job: Any, said: Hello) -> tuple[int, str]:
    """On a worker, in one of its threads: how much was done, and where it works."""
    here = str(Path.cwd())
    if not is_here(said):
        raise ProbelineError(
            here,
            "is not the project's folder any more",
            expected=said.folder,
            remedy=f"start the worker anew: cd {said.folder} && dask worker",
        )
    return work(job), here


def _seen(is_there: Callable[[], bool]) -> bool:
    end = time.monotonic() + SEEN_SECONDS
    while not is_there():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _described(answer: Answer) -> str:
    return f"worker {answer.name}: {'; '.join(answer.faults)}"


def _nothing() -> None:
    """A wish for a worker."""
