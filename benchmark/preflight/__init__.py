"""What can be wrong with the data and the settings of a run is found before a model is built.

Imports no MMDetection, and for COCO no torch, unless a check needs them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from backbones.errors import UserError
from benchmark.config.complete import DATALOADERS, complete_model
from benchmark.console import SHOWN
from benchmark.data.own.convert import USED, OwnData, read_converted
from benchmark.preflight.files import check_overlap
from benchmark.preflight.rows import Outcome, Row, found_row, printable, table_row
from benchmark.preflight.run import RUN, check_disk, check_learning_rate, check_weights
from benchmark.preflight.splits import Depth, Split, Use, check_split

__all__ = ["Depth", "Preflight", "Row", "Split", "check_data", "table_row"]


class Preflight:
    """The checks of a run, a row per check.

    Args:
        cfg: a config of ``load_config`` or, for the data alone, ``load_data_config``.
        loaders: which of its data loaders are used.
        depth: how far the checks go.

    Attributes:
        splits: those that could be read, by loader, as ``rows`` proceeds.
        warnings: what a run will skip, after ``check_data``.
    """

    def __init__(self, cfg: Config, loaders: Sequence[str] = DATALOADERS, depth: Depth = Depth.FULL) -> None:
        self.splits: dict[str, Split] = {}
        self.warnings: list[str] = []
        self._cfg, self._loaders, self._depth = cfg, loaders, depth

    def rows(self) -> Iterator[Row]:
        """Check one thing after another."""
        yield from self._own_findings()
        for name in self._loaders:
            split = yield from check_split(self._cfg[name].dataset, self._use(name), self._depth)
            if split:
                self.splits[name] = split
        yield self._check_classes()
        if self.splits.keys() >= set(DATALOADERS):
            trained, evaluated = (self.splits[name] for name in DATALOADERS)
            yield check_overlap(trained.pictures, evaluated.pictures, evaluated.name, read=self._depth > Depth.QUICK)
        names_a_backbone = "name" in self._cfg.get("model", {}).get("backbone", {})  # else the config is of data alone
        if names_a_backbone and "train_dataloader" in self._loaders:
            yield from self._check_training()

    def _own_findings(self) -> Iterator[Row]:
        """Say what was found when a user's own data were read, of the splits that are used and of the whole."""
        if "own_data" not in self._cfg:
            return
        own = read_converted(Path(self._cfg.data_root))
        used = {split for split, loader in zip(USED, DATALOADERS, strict=True) if loader in self._loaders}
        yield Row(RUN, "layout", "ok", None, (_describe_own(own),))
        for finding in own.findings:
            if finding.split in used or finding.split not in USED:
                outcome = Outcome(finding.status, finding.advice)
                examples = map(printable, finding.examples)
                named = len(finding.examples)
                yield found_row(
                    finding.split, finding.check, outcome, own.folder, finding.count, examples, max(named, SHOWN)
                )

    def _use(self, loader: str) -> Use:
        dataset = self._cfg[loader].dataset
        if not dataset.get("test_mode"):
            return Use(training=True, masks=any(step.get("with_mask") for step in dataset.get("pipeline", ())))
        figures = self._cfg.get("val_evaluator", {}).get("iou_types", ())
        trial = "train_dataloader" in self._loaders
        return Use(training=False, trial=trial, masks="segm" in figures, images=self._cfg.get("val_images"))

    def _check_classes(self) -> Row:
        """Hold the splits' classes against one another's, and their number against the model's."""
        check = "classes that splits and model do not share"
        splits = list(self.splits.values())
        for split in splits:
            if split.classes != splits[0].classes:
                message = (
                    f"The splits {splits[0].name} and {split.name} below {self._cfg.data_root} have different classes: "
                    "labels would shift silently. Unpack the data set again."
                )
                return Row(RUN, check, "error", None, (splits[0].name, split.name), message)
        for place, classes in _numbers_of_classes(self._cfg):
            if splits and classes != len(splits[0].classes):
                message = (
                    f"The config's model has {classes} classes, but {self._cfg.dataset_name} has "
                    f"{len(splits[0].classes)}: set {place}.num_classes to that."
                )
                return Row(RUN, check, "error", None, (f"{place}.num_classes={classes}",), message)
        return Row(RUN, check, "ok", 0)

    def _check_training(self) -> Iterator[Row]:
        yield check_learning_rate(self._cfg)
        yield from check_weights(self._cfg, read=self._depth > Depth.QUICK)
        if self._depth > Depth.QUICK:
            from benchmark.measuring.complexity import config_complexity  # takes MMDetection with it

            cfg = self._cfg.copy()
            try:
                complete_model(cfg)
                yield check_disk(cfg, config_complexity(cfg).params)
            except UserError as error:
                yield Row(RUN, "model", "error", None, (), str(error))


def check_data(cfg: Config, loaders: Sequence[str] = DATALOADERS) -> Preflight:
    """Check quickly what a run is about to use; the result says what it holds, and what the run will skip.

    Raises:
        UserError: the first thing that is wrong.
    """
    preflight = Preflight(cfg, loaders, Depth.QUICK)
    for row in preflight.rows():
        if row.status == "error":
            raise UserError(row.message)
        if row.status == "warning":
            preflight.warnings.append(row.message)
    return preflight


def _describe_own(own: OwnData) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in own.images.items())
    drawn = f"drawn, seed {own.seed}" if own.validation == "drawn" else own.validation
    return f"{own.layout}; {len(own.classes)} classes; {counts} (evaluated: {drawn})"


def _numbers_of_classes(cfg: Config) -> Iterator[tuple[str, int]]:
    """Return every place in a config's model that says how many classes there are, and what it says."""
    for place in ("model", "model.bbox_head", "model.roi_head.bbox_head", "model.roi_head.mask_head"):
        part: Any = cfg._cfg_dict
        for key in place.split("."):
            part = part.get(key) if isinstance(part, dict) else None
        if isinstance(part, dict) and "num_classes" in part:
            yield place, part["num_classes"]
