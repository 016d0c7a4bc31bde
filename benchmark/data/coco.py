"""Reading COCO-format data: images that may be corrupt, boxes that hold nothing."""

import contextlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.data.annotations import is_countable, read_annotations
from benchmark.data.unreadable import TrainingSamples


class _Index(COCO):
    """MMDetection's index of an annotation file, without pycocotools' slow reader and its chatter."""

    def __init__(self, annotation_file: str) -> None:
        super().__init__()
        self.dataset = read_annotations(Path(annotation_file))
        with contextlib.redirect_stdout(None):
            self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs


@DATASETS.register_module()
class CocoDetection(TrainingSamples, CocoDataset):
    """MMDetection's CocoDataset that does without unreadable pictures, and boxes that are not finite.

    Data-loading processes share the annotations, as in all of MMEngine's data sets: they lie pickled in one array.

    Args:
        pipeline: what is done to a sample; without ``with_mask`` in it no masks are kept.
        kwargs: of MMDetection's CocoDataset.
    """

    COCOAPI = _Index

    def __init__(self, pipeline: Sequence[dict[str, Any]] = (), **kwargs: Any) -> None:
        self._with_mask = any(step.get("with_mask") for step in pipeline)
        self._with_polygons = self._with_mask and any(step.get("poly2mask") is False for step in pipeline)
        super().__init__(pipeline=pipeline, **kwargs)

    @cached_property
    def annotations_sha256(self) -> str:
        """Hash of the annotation file."""
        return file_sha256(Path(self.ann_file))

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any]:
        """Return an image and its objects as MMDetection does; see ``benchmark.preflight`` for what is left out.

        Raises:
            UserError: an object's mask is no polygon where the pipeline wants one: MMDetection would leave it out.
        """
        objects = [entry for entry in raw_data_info["raw_ann_info"] if is_countable(entry["bbox"], entry["area"])]
        if self._with_polygons:
            self._check_polygons(objects)
        if not self._with_mask:
            for entry in objects:
                entry.pop("segmentation", None)
        return super().parse_data_info({**raw_data_info, "raw_ann_info": objects})

    def _check_polygons(self, objects: Sequence[dict[str, Any]]) -> None:
        for entry in objects:
            if not entry.get("iscrowd") and not isinstance(entry.get("segmentation"), list):
                raise UserError(
                    f"{self.ann_file}: the mask of object {entry['id']} is no polygon (run lengths?). Give "
                    "--cfg-options train_dataloader.dataset.pipeline.1.poly2mask=True, which takes both and is slower."
                )

    def filter_data(self) -> list[dict[str, Any]]:
        """Filter as MMDetection does, then let go of its index, whose numbers would hold the whole file in memory."""
        kept = super().filter_data()
        del self.cat_img_map
        return kept
