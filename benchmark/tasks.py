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
        count_input: (height, width) in pixels at which multiply-adds are counted, None for the config's own.
        demo: part of configs/_base_ that --demo lays over its configs.
        kind: ``detector`` or ``classifier``.
    """

    title: str
    tool: str
    ranking: str
    figures: tuple[str, ...]
    paper_table: int
    count_input: tuple[int, int] | None
    demo: str = "demo.py"
    kind: str = "detector"


_BOX = ("box_AP50", "box_AP75", "box_APs", "box_APm", "box_APl")
_MASK = ("mask_AP50", "mask_AP75", "mask_APs", "mask_APm", "mask_APl", "box_AP", "box_AP50", "box_AP75")

TASKS = {
    "ssdlite": Task("SSDLite", "eval_detection.py", "box_AP", _BOX, 6, (320, 320)),
    "faster_rcnn": Task(
        "Faster R-CNN + FPN", "eval_detection.py", "box_AP", _BOX, 7, (800, 1280), "demo_faster_rcnn.py"
    ),
    "mask_rcnn": Task(
        "Mask R-CNN + FPN", "eval_segmentation.py", "mask_AP", _MASK, 9, (800, 1280), "demo_mask_rcnn.py"
    ),
    "finegrained": Task(
        "Fine-grained transfer",
        "eval_finegrained.py",
        "top1",
        ("top5", "mean_per_class"),
        8,
        None,
        "demo_finetune.py",
        "classifier",
    ),
}
