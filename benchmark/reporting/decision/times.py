"""Measured times at the backbones they are of, and how many times as fast one is as another."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backbones.errors import UserError
from benchmark.records.latency import Latency, Ratio, read_latencies
from benchmark.records.result import Result
from benchmark.records.runs import Found


@dataclass(frozen=True)
class Timed:
    """A time, and which session of measuring it is of: times of one session were taken in the same rounds."""

    record: Latency
    session: int


@dataclass(frozen=True)
class Speed:
    """How many times as fast: the ratio of medians, and its range by the quartiles of the rounds where there are any.

    Two models' quartiles are each of their ratio to the first one of the session, so their range is the widest that
    these allow.
    """

    times: float
    low: float | None
    high: float | None


def read_sessions(found: Found, files: Sequence[Path]) -> list[list[Latency]]:
    """Return the times by session: of the files given, else of those found below the folders.

    Raises:
        UserError: a file that is none of times, or that times a model of another file again under the same conditions.
    """
    if not files:
        return [*found.sessions.values()]
    sessions = [read_latencies(path).latencies for path in files]
    seen: dict[tuple[object, ...], Path] = {}
    for path, session in zip(files, sessions, strict=True):
        for record in session:
            key = (record.model, record.input, record.conditions)
            if seen.setdefault(key, path) != path:
                raise UserError(f"{path} times {record.model} again, as {seen[key]} does: give one of them.")
    return sessions


def assign_times(results: Sequence[Result], sessions: Sequence[Sequence[Latency]]) -> list[Timed | None]:
    """Return the time of each result's model, all under one set of conditions: those of which most have a time.

    Args:
        results: one per backbone.
        sessions: times measured together, by session; of two times of a model the first counts.
    """
    of = [
        [Timed(record, number) for number, session in enumerate(sessions) for record in session if fits(record, result)]
        for result in results
    ]
    counts = Counter(conditions for timed in of for conditions in {one.record.conditions for one in timed})
    if not counts:
        return [None] * len(results)
    batch = {one.record.conditions: one.record.input[0] for timed in of for one in timed}
    chosen = min(counts, key=lambda conditions: (-counts[conditions], batch[conditions], conditions))
    return [next((one for one in timed if one.record.conditions == chosen), None) for timed in of]


def fits(record: Latency, result: Result) -> bool:
    """Tell whether a time is one of using a result's model, not of training it."""
    return record.timed != "training step" and record.belongs_to(result)


def speed(a: Timed, b: Timed) -> Speed:
    """Return how many times as fast as b a is."""
    times = b.record.median_ms / a.record.median_ms
    if a.session != b.session:
        return Speed(times, None, None)
    first = Ratio(median=1, low=1, high=1)
    ours, theirs = a.record.ratio or first, b.record.ratio or first
    return Speed(times, min(times, theirs.low / ours.high), max(times, theirs.high / ours.low))
