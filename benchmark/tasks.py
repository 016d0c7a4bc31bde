"""The tasks that backbones are compared on: one row each; a config names its own in ``task``."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        title: heading of its leaderboard.
        tool: which of tools/ evaluates it.
        ranking: the figure that ranks.
        figures: the others that stand beside it.
        paper_table: number of the paper's table.
        paper_column: its column of the ranking figure.
        count_input: (height, width) in pixels at which multiply-adds are counted.
    """

    title: str
    tool: str
    ranking: str
    figures: tuple[str, ...]
    paper_table: int
    paper_column: str
    count_input: tuple[int, int]


_BOX = ("box_AP50", "box_AP75", "box_APs", "box_APm", "box_APl")

TASKS = {
    "ssdlite": Task("SSDLite", "eval_detection.py", "box_AP", _BOX, 6, "ap", (320, 320)),
}
