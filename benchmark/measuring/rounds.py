"""Measuring in rounds that interleave what is compared, after a warm-up. Needs NumPy alone."""

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np

# Warm-up ends when every median over a window moved by less than this from the window before.
STABLE_CHANGE = 0.03
_WINDOW = 5  # rounds
_WARM_UP_ROUNDS = 50  # at most
_WARM_UP_SECONDS = 60  # likewise


def in_rounds(
    one_round: Callable[[], Sequence[float]],
    rounds: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> tuple[np.ndarray, int, bool]:
    """Measure round by round, after a warm-up.

    Args:
        one_round: runs everything that is compared once, and returns the milliseconds of each.
        rounds: how many.
        progress: passes the numbers of the rounds on.

    Returns:
        Milliseconds (compared, round); how many rounds the warm-up took, and whether it ended in stable medians.
    """
    warm_up, stable = _warm_up(one_round)
    return np.array([one_round() for _ in progress(range(rounds))]).T, warm_up, stable


def _warm_up(one_round: Callable[[], Sequence[float]]) -> tuple[int, bool]:
    """Run rounds until the medians are stable; return how many it took, and whether they were."""
    end, previous, rounds = time.perf_counter() + _WARM_UP_SECONDS, None, 0
    while rounds < _WARM_UP_ROUNDS and time.perf_counter() < end:
        medians = np.median([one_round() for _ in range(_WINDOW)], axis=0)
        rounds += _WINDOW
        if previous is not None and np.all(np.abs(medians - previous) < STABLE_CHANGE * previous):
            return rounds, True
        previous = medians
    return rounds, False
