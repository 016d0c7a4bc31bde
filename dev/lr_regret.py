"""What the search for a learning rate costs: compared with the best of a grid of seven at the same iterations.

    python dev/lr_regret.py --weights efficientnet_lite0 --coco ../shared/coco-mini

A table: for each case the figure of every rate, that of the search with the rate that it chose, and the regret, the
difference to the best of the grid, with its mean over the seeds. The best of seven is itself chosen on the evaluated
pictures, which flatters it. The real pictures are the objects of twelve classes cut out of COCO's, and COCO's pictures
with two classes, persons and all else.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import numpy as np
from helpers import real_objects

from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.config.recipe import Recipe
from benchmark.tasks import TASKS
from benchmark.training.hooks import DivergedError
from benchmark.training.train import train

RATES = tuple(float(f"{rate:.3g}") for rate in np.geomspace(1e-3, 1.0, 7))
_SMALL = ("train_dataloader.num_workers=0", "val_dataloader.num_workers=0", "default_hooks.logger.interval=1000")
_CLASSIFIER = (
    *(f"{loader}.dataset.pipeline.0.size=96" for loader in ("train_dataloader", "val_dataloader")),
    "val_dataloader.dataset.pipeline.0.resize=108",
    "train_dataloader.dataset.pipeline.0.area=(0.4, 1.0)",
)


@dataclass(frozen=True)
class Case:
    """A short training to find a rate for; ``data`` is a folder below the working one."""

    config: str
    dataset: str
    data: str
    steps: int
    batch_size: int
    options: tuple[str, ...] = ()
    demo: bool = False


CASES: Mapping[str, Case] = {
    "classifier, generated": Case("finetune", "imagefolder", "demo_classes", 60, 16, demo=True),
    "classifier, real": Case("finetune", "imagefolder", "objects", 60, 16, _CLASSIFIER),
    "SSDLite, generated": Case("ssdlite", "coco", "demo_boxes", 200, 8, ("input_size=160",), demo=True),
    "SSDLite, real": Case("ssdlite", "things", "things", 200, 8, ("input_size=160",)),
}


@dataclass
class Row:
    """The figures of a case with a seed, by rate, and of the search."""

    figures: dict[float, float] = field(default_factory=dict)
    searched: tuple[float, float] = (0.0, 0.0)

    @property
    def regret(self) -> float:
        """How far the search stays below the best of the grid."""
        return max(self.figures.values()) - self.searched[1]


def two_classes(coco: Path, folder: Path) -> None:
    """Write COCO's pictures with the classes person and thing."""
    (folder / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        shutil.copytree(coco / split, folder / split)
        content = json.loads((coco / f"annotations/instances_{split}.json").read_text())
        for annotation in content["annotations"]:
            annotation["category_id"] = 1 if annotation["category_id"] == 1 else 2
        content["categories"] = [{"id": 1, "name": "person"}, {"id": 2, "name": "thing"}]
        (folder / f"annotations/instances_{split}.json").write_text(json.dumps(content))


def measure(case: Case, seed: int, args: argparse.Namespace) -> Row:
    """Train with every rate, and with the search."""
    row = Row()
    own = case.dataset == "things"
    for rate in (*RATES, None):
        told = () if rate is None else (f"optim_wrapper.optimizer.lr={rate}", "auto_scale_lr.enable=False")
        options = Options(
            CONFIGS / f"{case.config}.py",
            args.work_dir / f"runs/{case.data}_{rate or 'searched'}_{seed}",
            (*_SMALL, *case.options, *told),
            None if own else args.work_dir / case.data,
            demo=case.demo,
            batch_size=case.batch_size,
            backbone=args.weights,
            dataset=str(args.work_dir / case.data) if own else case.dataset,
        )
        try:
            recipe = Recipe(lr="config" if rate else "auto")
            result = train(options, pretrained="imagenet", steps=case.steps, seed=seed, overwrite=True, recipe=recipe)
        except DivergedError:
            figure, chosen = 0.0, 0.0
        else:
            assert result.training  # it was trained just now
            figure = result.metrics[TASKS[result.task].ranking] or 0.0
            chosen = result.training.learning_rate
        shutil.rmtree(options.work_dir or "")
        if rate is None:
            row.searched = (chosen, figure)
        else:
            row.figures[rate] = figure
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--weights", default="efficientnet_lite0", help="backbone with ImageNet weights here")
    parser.add_argument("--coco", type=Path, required=True, help="real pictures in COCO's layout")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/lr_regret"))
    args = parser.parse_args()
    if not (args.work_dir / "objects/train").is_dir():
        real_objects(args.coco, args.work_dir / "objects")
    if not (args.work_dir / "things").is_dir():
        two_classes(args.coco, args.work_dir / "things")
    lines = []
    for name in args.cases:
        begun, regrets = time.monotonic(), []
        for seed in range(args.seeds):
            row = measure(CASES[name], seed, args)
            regrets.append(row.regret)
            shown = " ".join(f"{figure:8.1f}" for figure in row.figures.values())
            lines.append(f"{name:24}{seed:>4} {shown}   {row.searched[0]:7.3g}{row.searched[1]:8.1f}{row.regret:8.1f}")
        lines.append(f"{name:24}mean regret {mean(regrets):.1f}, {time.monotonic() - begun:.0f} s")
    rates = " ".join(f"{rate:8.3g}" for rate in RATES)
    print(f"\n{'case':24}seed {rates}   searched  figure  regret", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
