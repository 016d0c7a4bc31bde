"""How far a figure of ours may lie from a printed one, with the reason: the one place of all tolerances.

``agrees`` within the tolerance; ``near`` within a wider one, or better than printed; else ``disagrees``.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """A tolerance.

    Attributes:
        within: in the figure's unit; None for half a unit of its last printed digit.
        near: wider one, as a multiple of ``within``.
        near_share: or as a share of the printed figure, whichever is wider.
        reason: why so.
    """

    within: float | None
    reason: str
    near: float = 2.0
    near_share: float = 0.0

    def bounds(self, printed: str) -> tuple[float, float]:
        """Return both for a figure as it is printed: ``0.40``."""
        within = last_digit(printed) / 2 if self.within is None else self.within
        return within, max(self.near * within, self.near_share * abs(float(printed)))


_COUNTS = "a count is exact, and so is its comparison, but for rounding in the paper and modules that some leave out"
TOLERANCES = {
    "AP": Tolerance(
        0.5,
        "reruns of one recipe differ by up to 0.3 AP; the rest is for Table 6's images, test-dev2017, ours val2017",
    ),
    "top-1": Tolerance(
        1.0, "two standard errors of 90% over Aircraft's 3333 test pictures, the fewest of the four data sets"
    ),
    "ImageNet accuracy": Tolerance(0.4, "two standard errors of 78% over ImageNet's 50 000 validation pictures"),
    "SSDLite params": Tolerance(0.05, f"in millions; {_COUNTS}"),
    "SSDLite multiply-adds": Tolerance(0.01, f"in billions; {_COUNTS}"),
    "two-stage params": Tolerance(0.1, f"in millions; {_COUNTS}"),
    "two-stage multiply-adds": Tolerance(0.3, f"in billions; {_COUNTS}"),
    "printed digits": Tolerance(None, f"half a unit of the last printed digit; {_COUNTS}"),
    "quoted": Tolerance(
        None, "a row that the paper took from elsewhere was counted and trained elsewhere", near=1.0, near_share=0.05
    ),
    "ratio of times": Tolerance(
        0.0,
        "which of two networks is faster, where the paper's times clearly tell; within 5% they are as fast",
        near=0.0,
        near_share=0.05,
    ),
    "search constraint": Tolerance(
        None,
        "Table 3 says about so many params and multiply-adds; its own means lie up to a sixth off (351M for 300M)",
        near=1.0,
        near_share=0.17,
    ),
    "cost law": Tolerance(
        0.1, "of a ratio of times to the predicted one: timer, cache and scheduling on an idle machine", near=3.0
    ),
}


def last_digit(text: str) -> float:
    """Return the value of one unit of the last printed digit: 0.01 for ``0.40``, 1 for ``12``."""
    return 10.0 ** -len(text.partition(".")[2])
