"""What becomes of a figure or a claim of the documents: three states where it is judged, and why where it is not."""

from collections.abc import Sequence
from enum import StrEnum


class Verdict(StrEnum):
    """What became of a figure or a claim."""

    AGREES = "agrees"
    NEAR = "near"  # outside the tolerance: by little, or to the better; of a claim: it holds in part
    DISAGREES = "disagrees"
    CANNOT_TELL = "cannot tell"  # the interval holds both answers
    NOT_TESTED = "not tested"  # what it needs was not there
    NOT_PRINTED = "not printed"
    NOT_COMPARED = "not compared"  # times of another machine, and ratios near 1
    MISSING = "missing"
    NOT_IN_THE_CATALOGUE = "not in the catalogue"


JUDGED = (Verdict.AGREES, Verdict.NEAR, Verdict.DISAGREES)


def judge(ours: float, printed: float, *, tolerance: float, near: float, higher_is_better: bool = False) -> Verdict:
    """Return how a figure compares with a printed one.

    Args:
        ours: in the unit of the printed one.
        printed: as the document has it.
        tolerance: how far ours may lie from it and still agree.
        near: how far it may lie and still be near.
        higher_is_better: whether a higher one, however far, is better; a lower one never is.
    """
    # Printed figures are decimal: their difference to ours is taken to a millionth.
    difference = round(ours - printed, 6)
    if abs(difference) <= tolerance:
        return Verdict.AGREES
    if abs(difference) <= near or (higher_is_better and difference > 0):
        return Verdict.NEAR
    return Verdict.DISAGREES


def judge_all(intervals: Sequence[tuple[float, float]], margin: float = 0.0) -> Verdict:
    """Return the verdict of a claim that all of some differences are over a margin, from their intervals.

    All wholly over it: agrees. None below it, but some on both sides: the data cannot tell. Some over and fewer not:
    the claim holds in part. Else it disagrees.
    """
    over = sum(low > margin for low, _ in intervals)
    under = sum(high <= margin for _, high in intervals)
    if over == len(intervals):
        return Verdict.AGREES
    if not under:
        return Verdict.CANNOT_TELL
    return Verdict.NEAR if over > under else Verdict.DISAGREES
