"""Three states, by tolerances that all stand in one file."""

import pytest

from benchmark.records.tolerances import TOLERANCES, Tolerance
from benchmark.records.verdicts import Verdict, judge, judge_all

AGREES, NEAR, DISAGREES = Verdict.AGREES, Verdict.NEAR, Verdict.DISAGREES


@pytest.mark.parametrize(
    ("ours", "verdict", "accuracy"),
    [
        (10.5, AGREES, AGREES),
        (9.5, AGREES, AGREES),
        (9.4, NEAR, NEAR),
        (9.0, NEAR, NEAR),
        (8.9, DISAGREES, DISAGREES),
        (11.1, DISAGREES, NEAR),
    ],
)
def test_agrees_near_or_better_disagrees(ours, verdict, accuracy):
    assert judge(ours, 10.0, tolerance=0.5, near=1.0) == verdict
    assert judge(ours, 10.0, tolerance=0.5, near=1.0, higher_is_better=True) == accuracy


def test_a_tolerance_of_printed_digits():
    assert Tolerance(None, "").bounds("0.40") == pytest.approx((0.005, 0.01))
    assert Tolerance(None, "", near_share=0.05).bounds("12") == pytest.approx((0.5, 1.0))
    assert Tolerance(None, "", near_share=0.5).bounds("12") == pytest.approx((0.5, 6.0))


def test_every_tolerance_has_its_reason():
    for name, tolerance in TOLERANCES.items():
        assert len(tolerance.reason) > 20, name


@pytest.mark.parametrize(
    ("intervals", "verdict"),
    [
        ([(0.1, 0.2), (0.3, 0.4)], AGREES),
        ([(0.1, 0.2), (-0.1, 0.4)], Verdict.CANNOT_TELL),
        ([(0.1, 0.2), (0.1, 0.4), (-0.2, -0.1)], NEAR),
        ([(0.1, 0.2), (-0.2, -0.1)], DISAGREES),
        ([(0.0, 0.0)], DISAGREES),
    ],
)
def test_a_claim_about_several_differences(intervals, verdict):
    assert judge_all(intervals) == verdict


def test_a_difference_below_the_margin_is_none():
    assert judge_all([(0.001, 0.002)], margin=0.01) == DISAGREES
