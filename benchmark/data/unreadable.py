"""Pictures that cannot be decoded: named and counted, in training replaced, in evaluation left out of the figures."""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import cv2
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from backbones.errors import UserError
from benchmark.console import listed
from benchmark.data.decode import UnreadableImageError
from benchmark.data.subsets import SEED, check_part, part_size, stratified_order
from benchmark.seeding import seeded

_IN_A_ROW = 20  # chosen at random: by chance in a data set of which half is unreadable, one time in a million


def warn_of_unreadable(names: Sequence[str]) -> None:
    """Say in the log which pictures an evaluation leaves out."""
    if names:
        text = f"{len(names)} pictures cannot be read and do not count: {listed(names)}."
        print_log(text, logger="current", level=logging.WARNING)


class TrainingSamples(BaseDataset):
    """Mixed into a data set of MMEngine's: samples that their own seed decides, and none of an unreadable picture.

    In training a picture that cannot be decoded is named, counted and replaced. In evaluation (``test_mode``) the
    metrics leave it out: they know it by the name in ``unreadable`` of its sample, whose content is another picture's.

    Args:
        subset: the part of the usable pictures that is taken, see ``benchmark.data.subsets``; all by default.
        kwargs: of the data set.

    Attributes:
        subset_of: how many usable pictures the part is of; None where there is no part.
    """

    _skipped = 0
    _readable: int | None = None  # the index of a picture that has stood in for another one

    def __init__(self, *, subset: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self.subset = subset
        self.subset_of: int | None = None
        if subset:
            check_part(subset)
        super().__init__(**kwargs)

    @property
    def subset_seed(self) -> int | None:
        """The seed of the part."""
        return self.subset.get("seed", SEED) if self.subset else None

    def filter_data(self) -> list[dict[str, Any]]:
        """Return the pictures that can be used, or the part of them that is asked for."""
        kept: list[dict[str, Any]] = super().filter_data()
        if not self.subset:
            return kept
        self.subset_of = len(kept)
        root = self.data_prefix.get("img") or self.data_root
        names = [os.path.relpath(sample["img_path"], root) for sample in kept]
        order = stratified_order(names, [_classes_of(sample) for sample in kept], self.subset_seed or 0)
        chosen = set(order[: part_size(self.subset, len(kept))])
        return [sample for place, sample in enumerate(kept) if place in chosen]

    def __getitem__(self, idx: int | tuple[int, int]) -> Any:
        """Return a sample by its index or, for training, by ``SampleStream``'s (index, seed).

        A training sample's metainfo counts in ``skipped`` the unreadable pictures in its place.
        """
        if not isinstance(idx, tuple):
            return super().__getitem__(idx)
        index, seed = idx
        self._skipped = 0
        with seeded(seed):
            sample = super().__getitem__(index)
        sample["data_samples"].set_metainfo({"skipped": self._skipped})
        return sample

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one picture.

        If it is unreadable the result is, in training, None and so another picture, and in evaluation one that stands
        in for it.

        Raises:
            UserError: most pictures are unreadable, or in evaluation all.
        """
        try:
            return self._prepare(idx)
        except UnreadableImageError as error:
            problem = error
        if self.test_mode:
            print_log(f"Skipped: {problem}", logger="current", level=logging.WARNING)
            return self._stand_in(idx, problem)
        self._skipped += 1
        if self._skipped == _IN_A_ROW:
            raise UserError(
                f"{_IN_A_ROW} training pictures in a row cannot be used. The last: {problem} See how many there are: "
                "python tools/check_data.py CONFIG --decode."
            )
        print_log(f"Skipped: {problem}", logger="current", level=logging.WARNING)
        return None

    def _prepare(self, idx: int) -> Any:
        try:
            return super().prepare_data(idx)
        except cv2.error as error:  # one row of pixels, say, of which a smaller picture has none
            path = self.get_data_info(idx)["img_path"]
            reason = " ".join(error.err.split())  # of several lines
            raise UnreadableImageError(
                f"Image {path} cannot be resized for the model: {reason} Leave it out."
            ) from error

    def _stand_in(self, idx: int, problem: UnreadableImageError) -> Any:
        """Return the sample of a readable picture under the id of an unreadable one, and with its name."""
        others = (place % len(self) for place in range(idx + 1, idx + len(self)))
        for place in others if self._readable is None else (self._readable, *others):
            try:
                sample = self._prepare(place)
            except UnreadableImageError as error:
                problem = error
                continue
            self._readable = place
            own = self.get_data_info(idx)
            name = os.path.relpath(own["img_path"], self.data_prefix.get("img") or self.data_root)
            sample["data_samples"].set_metainfo({"img_id": own.get("img_id", own["sample_idx"]), "unreadable": name})
            return sample
        raise UserError(f"None of the {len(self)} pictures can be read. The last: {problem}")


def _classes_of(sample: Mapping[str, Any]) -> Collection[int]:
    """Return the labels of a classified picture or of one with objects; regions to ignore show none."""
    if "gt_label" in sample:
        return {sample["gt_label"]}
    return {entry["bbox_label"] for entry in sample["instances"] if not entry["ignore_flag"]}
