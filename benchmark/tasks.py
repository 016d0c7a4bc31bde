"""The tasks that backbones are compared on: one row per task; a config names its own in ``task``.

To add a task: a row here, its template in configs/, a test of the template. Figures that are new get a row in
``benchmark/records/figures.py`` each, and what makes detectors differ from classifiers is asked of ``kind``.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Ability(StrEnum):
    """What some tasks offer and others do not."""

    PREDICT = "predict"  # finds boxes or masks in any picture, and draws them
    EXPORT = "export"  # to other runtimes
    SWEEP = "sweep"  # a search over learning rate and weight decay


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        kind: what its models are.
        title: heading of its leaderboard.
        tool: which of tools/ evaluates it.
        figures: names of rows of ``benchmark.records.figures.FIGURES``; the first one ranks.
        data: the data set that its template is for, as results name it.
        demo: part of configs/_base_ that --demo lays over its configs.
        count_input: (height, width) in pixels at which multiply-adds are counted, None for the config's own.
        fixed_shapes: its training images all have one size.
        tables: numbers of the paper's tables; empty where it prints none.
        can: what it offers.
    """

    kind: Literal["detector", "classifier"]
    title: str
    tool: str
    figures: tuple[str, ...]
    data: str
    demo: str
    count_input: tuple[int, int] | None = None
    fixed_shapes: bool = False
    tables: tuple[int, ...] = ()
    can: frozenset[Ability] = frozenset()

    @property
    def ranking(self) -> str:
        """The figure that ranks."""
        return self.figures[0]


_BOX = ("box_AP", "box_AP50", "box_AP75", "box_APs", "box_APm", "box_APl")
_MASK = ("mask_AP", "mask_AP50", "mask_AP75", "mask_APs", "mask_APm", "mask_APl", "box_AP", "box_AP50", "box_AP75")

TASKS = {
    "ssdlite": Task(
        kind="detector",
        title="SSDLite",
        tool="eval_detection.py",
        figures=_BOX,
        data="coco2017",
        demo="demo/detection.py",
        fixed_shapes=True,
        tables=(6,),
        can=frozenset({Ability.PREDICT, Ability.EXPORT}),
    ),
    "faster_rcnn": Task(
        kind="detector",
        title="Faster R-CNN + FPN",
        tool="eval_detection.py",
        figures=_BOX,
        data="coco2017",
        demo="demo/faster_rcnn.py",
        count_input=(800, 1280),
        tables=(7,),
        can=frozenset({Ability.PREDICT, Ability.EXPORT}),
    ),
    "mask_rcnn": Task(
        kind="detector",
        title="Mask R-CNN + FPN",
        tool="eval_segmentation.py",
        figures=_MASK,
        data="coco2017",
        demo="demo/mask_rcnn.py",
        count_input=(800, 1280),
        tables=(9,),
        can=frozenset({Ability.PREDICT, Ability.EXPORT}),
    ),
    "finegrained": Task(
        kind="classifier",
        title="Fine-grained transfer",
        tool="eval_finegrained.py",
        figures=("top1", "top5", "mean_per_class"),
        data="Food-101",
        demo="demo/finetune.py",
        fixed_shapes=True,
        tables=(8,),
        can=frozenset({Ability.EXPORT, Ability.SWEEP}),
    ),
    "imagenet": Task(
        kind="classifier",
        title="ImageNet classification",
        tool="eval_imagenet.py",
        figures=("top1", "top5", "real"),
        data="ImageNet",
        demo="demo/imagenet.py",
        fixed_shapes=True,
        can=frozenset({Ability.EXPORT}),
    ),
}
