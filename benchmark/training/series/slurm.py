"""The runs of a series as jobs of a Slurm cluster, submitted by submitit.

A job starts the process that a local worker would, and waits for it. When Slurm warns it that its time is up or that
others need its place (by SIGUSR2, as submitit asks), the run saves and the job is put into the queue again, where it
resumes exactly. The queue is the only record of what was submitted: jobs are found there by names that say series and
run, so a series that was stopped at any moment, and is started again, watches those that are there and submits the
others.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.errors import UserError
from benchmark.console import listed
from benchmark.training.series.plan import Job
from benchmark.training.series.workers import start_process

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

_JOBS = "slurm"  # in the folder of logs: what submitit writes
# How Slurm calls jobs that do not run any more, and will not.
_OVER = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
)
# What each job is given here, by sbatch's names.
_OWN = (
    *("partition", "time", "gpus-per-node", "requeue", "no-requeue", "job-name"),
    *("output", "error", "open-mode", "signal", "array"),
)
_PATIENCE = 300.0  # s, with a Slurm that does not answer
_ARRIVAL = 60.0  # s, that a result may take from a node to this machine's view of a shared folder
_LONGEST_WARNING = 90  # s before the time is up
_MOST_REQUEUES = 1000
_WAIT = 5.0  # s


@dataclass(frozen=True)
class Request:
    """What each job asks of Slurm.

    Attributes:
        partition: None for the cluster's default.
        minutes: a job's time limit; what takes longer is saved then and goes back into the queue.
        gpus: of a job.
        sbatch: other parameters of sbatch, by their long names.
    """

    partition: str | None = None
    minutes: int = 240
    gpus: int = 0
    sbatch: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, str]:
        """Everything, as sbatch names it, with an empty value for a flag."""
        own = {"partition": self.partition, "time": self.minutes, "gpus-per-node": self.gpus or None}
        given = {key: str(value) for key, value in own.items() if value is not None}
        return {**given, **self.sbatch, "requeue": ""}  # also where the node fails, or is taken for other jobs


class RunInJob:
    """What a job calls: it runs one run of a series in a process of its own, and saves it when it must go.

    Args:
        job: the run.
        log: what it prints into.
    """

    def __init__(self, job: Job, log: Path) -> None:
        self.job, self.log = job, log
        self._process: BaseProcess | None = None

    def __call__(self) -> None:
        """Run it to its end.

        Raises:
            RuntimeError: it is not finished.
        """
        signal.signal(signal.SIGTERM, lambda *_: self._save())  # what Slurm cancels and requeues by
        self._process = start_process(self.job, self.log)
        self._process.join()
        if not self.job.finished:
            raise RuntimeError(f"The run ended with status {self._process.exitcode}: see {self.log}.")

    def checkpoint(self) -> "DelayedSubmission":
        """Have the run save and end, and return what the job calls when it is its turn again; submitit asks for it."""
        from submitit.helpers import DelayedSubmission

        self._save()
        if self._process:
            self._process.join()
        return DelayedSubmission(RunInJob(self.job, self.log))

    def _save(self) -> None:
        if self._process:
            self._process.terminate()


@dataclass
class _Watched:
    """A job in the queue: the run, its log, how long that was before, and since when the job is over."""

    job: Job
    log: Path
    size: int
    over_since: float | None = None


class Slurm:
    """Jobs of Slurm.

    Args:
        request: what each asks.
        places: jobs in the queue at a time.
        folder: of the series, on a file system that the nodes share.

    Raises:
        UserError: no Slurm or no submitit here, or a request that Slurm refuses.
    """

    pause = 2.0
    times_here = False

    def __init__(self, request: Request, places: int, folder: Path) -> None:
        self.places = places
        self._request, self._folder = request, folder
        self._watched: dict[str, _Watched] = {}  # by Slurm's number
        self._earlier: dict[str, str] | None = None  # number by name, of a series that was stopped
        self._check()

    def start(self, job: Job, log: Path) -> str:
        """Submit a run, or watch the job that an earlier process of this series has submitted."""
        if self._earlier is None:
            queue = self._read_queue()
            self._earlier = {name: number for number, (name, state) in queue.items() if state not in _OVER}
        number = self._earlier.pop(self._name(job), None)
        if number and not (self._place(log) / f"{number}_submitted.pkl").is_file():
            _call("scancel", number)  # submitted by a process that was killed before it could say of what
            number = None
        said = "runs or waits" if number else "submitted"
        number = number or self._submit(job, log)
        self._watched[number] = _Watched(job, log, log.stat().st_size if log.is_file() else 0)
        return f"{said} as Slurm's job {number}"

    def ended(self) -> list[tuple[Job, str]]:
        """Return the runs whose jobs are over, and what Slurm says of those that failed."""
        queue, found = self._read_queue(), []
        for number, watched in list(self._watched.items()):
            state = queue.get(number, ("", "gone"))[1]
            if state not in _OVER and number in queue:
                continue
            watched.over_since = watched.over_since or time.monotonic()
            arriving = state in ("COMPLETED", "gone") and time.monotonic() < watched.over_since + _ARRIVAL
            if watched.job.finished or not arriving:
                del self._watched[number]
                found.append((watched.job, self._reason(number, watched, state)))
        return found

    def stop(self) -> str:
        """Leave the jobs where they are."""
        if not self._watched:
            return "Stopped; the same command continues."
        numbers = list(self._watched)
        return (
            f"Stopped watching: {len(numbers)} jobs go on in Slurm's queue ({listed(numbers)}), and the same command "
            f"watches them again. `scancel {' '.join(numbers)}` ends them."
        )

    def _check(self) -> None:
        if taken := [key for key in self._request.sbatch if key in _OWN]:
            raise UserError(f"--sbatch {taken[0]}: is given by an option of its own, or set here. Leave it out.")
        if not shutil.which("sbatch"):
            raise UserError("--cluster slurm: sbatch is not here. Start it where jobs of the cluster are submitted.")
        if find_spec("submitit") is None:
            raise UserError("--cluster slurm needs the package submitit: pip install 'rexnet-benchmark[cluster]'.")
        flags = [f"--{key}={value}" if value else f"--{key}" for key, value in self._request.parameters.items()]
        tried = subprocess.run(["sbatch", "--test-only", *flags, "--wrap=true"], capture_output=True, text=True)
        if tried.returncode:
            raise UserError(f"Slurm refuses such jobs: {_first_line(tried.stderr)}.")

    def _submit(self, job: Job, log: Path) -> str:
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = SlurmExecutor(self._place(log), max_num_timeout=_MOST_REQUEUES)
        minutes, parameters = self._request.minutes, self._request.parameters
        cores = parameters.get("cpus-per-task")  # which srun does not take over from sbatch
        executor.update_parameters(
            job_name=self._name(job),
            time=minutes,
            signal_delay_s=min(_LONGEST_WARNING, 60 * minutes // 4),
            wckey=None,  # a label for accounting that not every cluster takes
            additional_parameters={key: value or True for key, value in parameters.items()},
            srun_args=[f"--cpus-per-task={cores}"] if cores else None,
        )
        try:
            return str(executor.submit(RunInJob(job, log)).job_id)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise UserError(f"Slurm took no job for {job.name}: {_first_line(str(error))}.") from error

    def _name(self, job: Job) -> str:
        place = hashlib.blake2b(os.fsencode(self._folder.resolve()), digest_size=4).hexdigest()
        return f"bench-{place}-{job.folder.name}"

    @staticmethod
    def _place(log: Path) -> Path:
        return (log.parent / _JOBS).absolute()

    def _read_queue(self) -> dict[str, tuple[str, str]]:
        """Return name and state of this user's jobs by number; those that are over stay for some minutes."""
        deadline = time.monotonic() + _PATIENCE
        asked = ("squeue", f"--user={os.getuid()}", "--states=all", "--noheader", "--format=%i|%T|%j")
        while (answer := _call(*asked)).returncode:
            if time.monotonic() > deadline:
                raise UserError(
                    f"Slurm does not answer ({_first_line(answer.stderr)}). Its jobs go on; the same command watches "
                    "them again."
                )
            time.sleep(_WAIT)
        rows = (line.split("|", 2) for line in answer.stdout.splitlines())  # a name may hold anything
        return {number: (name, state) for number, state, name in rows}

    def _reason(self, number: str, watched: _Watched, state: str) -> str:
        if state == "FAILED" and watched.log.is_file() and watched.log.stat().st_size > watched.size:
            return ""
        return f"job {number} is {state} (see {self._place(watched.log) / f'{number}_0_log.err'})"


def _call(*command: str) -> Any:
    return subprocess.run(command, capture_output=True, text=True)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("sbatch: ").removeprefix("error: ").rstrip(".") if lines else "no word of it"
