import pickle
from functools import partial
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import PolygonMasks
from torch.utils.data import DataLoader

from benchmark.data.packing import PackSample, collate_samples

PICTURE = np.random.default_rng(0).integers(0, 256, size=(5, 7, 3), dtype=np.uint8)
LAYOUTS = {
    "as decoded": PICTURE,
    "mirrored by NumPy": np.flip(PICTURE, axis=1),
    "upside down": np.flip(PICTURE, axis=0),
    "in planes": np.ascontiguousarray(PICTURE.transpose(2, 0, 1)).transpose(1, 2, 0),
    "of float32": PICTURE.astype(np.float32) / 3,
}


@pytest.mark.parametrize("image", LAYOUTS.values(), ids=LAYOUTS)
def test_a_packed_picture_is_mmdetections(image):
    results = {"img": image, "img_id": 3, "img_shape": image.shape[:2]}
    ours, theirs = (pack(meta_keys=("img_id",))(dict(results)) for pack in (PackSample, PackDetInputs))
    assert ours["inputs"].dtype == theirs["inputs"].dtype
    assert ours["inputs"].is_contiguous()
    assert torch.equal(ours["inputs"], theirs["inputs"])
    assert ours["data_samples"].img_id == 3
    assert results["img"] is image


def sample(objects: int, masks: bool) -> dict:
    boxes = HorizontalBoxes(torch.rand(objects, 4))
    results = {"img": PICTURE, "img_id": objects, "gt_bboxes": boxes, "gt_bboxes_labels": np.arange(objects)}
    if masks:
        polygons = [[np.arange(6.0) + i] for i in range(objects)]
        results["gt_masks"] = PolygonMasks(polygons, *PICTURE.shape[:2])
    results["gt_ignore_flags"] = np.arange(objects) == 1
    return PackSample(meta_keys=("img_id",))(results)


@pytest.mark.parametrize("masks", [False, True])
def test_a_batch_of_another_process_is_the_same(masks):
    batch = [sample(objects, masks) for objects in (0, 1, 3)]
    loader = DataLoader(batch, batch_size=3, num_workers=1, collate_fn=partial(collate_samples, stack=True))
    (found,) = loader
    assert torch.equal(found["inputs"], torch.stack([each["inputs"] for each in batch]))
    assert type(found["data_samples"]) is list
    for ours, made in zip(found["data_samples"], (each["data_samples"] for each in batch), strict=True):
        assert ours.img_id == made.img_id
        for field in ("gt_instances", "ignored_instances"):
            instances, expected = getattr(ours, field), getattr(made, field)
            assert type(instances.bboxes) is type(expected.bboxes) is HorizontalBoxes
            assert torch.equal(instances.bboxes.tensor, expected.bboxes.tensor)
            assert torch.equal(instances.labels, expected.labels)
            if masks:
                assert np.array_equal(instances.masks.to_ndarray(), expected.masks.to_ndarray())


def test_samples_travel_without_shared_memory_of_their_own(monkeypatch):
    batch = collate_samples([sample(3, masks=False)] * 2)
    assert [each.shape for each in batch["inputs"]] == [(3, 5, 7)] * 2
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", None)  # what would make it
    received = pickle.loads(ForkingPickler.dumps(batch["data_samples"]))
    assert torch.equal(received[0].gt_instances.labels, torch.tensor([0, 2]))
    with pytest.raises(TypeError):
        ForkingPickler.dumps(list(batch["data_samples"]))
