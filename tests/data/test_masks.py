"""Mask R-CNN's masks as polygons: the targets of bitmaps but for their edges."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import build_dataset
from mmdet.structures.mask import PolygonMasks

from backbones.errors import UserError
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS

SIDE = 28  # of the mask head's targets


def training_set(root: Path, **changes):
    dataset = load_config(CONFIGS / "mask_rcnn_rexnet_x1.0.py", data_root=root).train_dataloader.dataset
    pipeline = [dict(step) for step in dataset.pipeline if step.type != "RandomFlip"]
    pipeline[1].update(changes)
    return build_dataset(dataset.to_dict(), pipeline=pipeline)


def test_targets_differ_from_those_of_bitmaps_at_the_edges_alone(coco_mini):
    polygons, bitmaps = training_set(coco_mini), training_set(coco_mini, poly2mask=True)
    rng = np.random.default_rng(0)
    shares, overlaps = [], []
    for i in range(12):
        a, b = (each[i]["data_samples"].gt_instances for each in (polygons, bitmaps))
        assert isinstance(a.masks, PolygonMasks) and len(a) == len(b) > 0
        boxes = a.bboxes.tensor.numpy()
        inds = np.arange(len(boxes)).repeat(2)
        sides = np.tile(boxes[inds, 2:] - boxes[inds, :2], 2)
        rois = (boxes[inds] + rng.normal(0, 0.08, sides.shape) * sides).astype(np.float32)  # as proposals are
        rois = rois.clip(0, [a.masks.width, a.masks.height] * 2).astype(np.float32)
        one, other = (
            each.masks.crop_and_resize(rois, (SIDE, SIDE), inds=inds, device="cpu").to_ndarray() > 0 for each in (a, b)
        )
        shares.append((one != other).mean())
        overlaps.append((one & other).sum() / (one | other).sum())
    assert np.mean(shares) < 0.05 and np.mean(overlaps) > 0.9


def test_run_lengths_where_polygons_are_expected_are_an_error(coco_mini, tmp_path):
    """MMDetection would train as if the object were not there."""
    content = json.loads((coco_mini / "annotations/instances_train2017.json").read_text())
    sizes = {image["id"]: [image["height"], image["width"]] for image in content["images"]}
    entry = next(entry for entry in content["annotations"] if not entry["iscrowd"])
    height, width = sizes[entry["image_id"]]
    entry["segmentation"] = {"size": [height, width], "counts": [0, height * width]}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    (tmp_path / "train2017").symlink_to(coco_mini / "train2017")
    with pytest.raises(UserError, match=rf"mask of object {entry['id']} is no polygon"):
        training_set(tmp_path)
    assert len(training_set(tmp_path, poly2mask=True)) == len(training_set(coco_mini))
