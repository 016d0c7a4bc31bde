"""Batches on their way to the device, against MMDetection's own way."""

from collections import Counter

import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.models.preprocessor import DetectorPreprocessor
from benchmark.models.transfer import send_samples

NORMALISATION = dict(mean=(123.0, 116.0, 103.0), std=(58.0, 57.0, 56.0), bgr_to_rgb=True, pad_size_divisor=32)
META = torch.device("meta")  # another device, with which no host waits


def make_samples(count: int, *, plain: bool = True) -> list[DetDataSample]:
    """Samples of 0, 1, 2, 0, ... objects with boxes of their own."""
    samples = []
    for number in range(count):
        boxes = torch.arange(4.0 * (number % 3)).reshape(-1, 4) + number
        sample = DetDataSample(metainfo={"img_id": number, "img_shape": (40, 30)})
        sample.gt_instances = InstanceData(
            bboxes=boxes if plain else HorizontalBoxes(boxes), labels=torch.full((len(boxes),), number)
        )
        sample.ignored_instances = InstanceData(bboxes=torch.empty(0, 4), labels=torch.empty(0, dtype=torch.long))
        samples.append(sample)
    return samples


def make_batch(count: int, *, stacked: bool, plain: bool = True) -> dict:
    pictures = torch.randint(256, (count, 3, 40, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {
        "inputs": pictures if stacked else list(pictures),
        "data_samples": make_samples(count, plain=plain),
    }


@pytest.mark.parametrize("stacked", [True, False])
def test_the_numbers_are_mmdetections(stacked):
    ours = DetectorPreprocessor(**NORMALISATION)(make_batch(3, stacked=stacked, plain=False), training=True)
    theirs = DetDataPreprocessor(**NORMALISATION)(make_batch(3, stacked=stacked, plain=False), training=True)
    assert torch.equal(ours["inputs"], theirs["inputs"])
    for one, other in zip(ours["data_samples"], theirs["data_samples"], strict=True):
        assert one.metainfo == other.metainfo
        assert torch.equal(one.gt_instances.bboxes, other.gt_instances.bboxes)
        assert torch.equal(one.gt_instances.labels, other.gt_instances.labels)


class CountCopies(TorchDispatchMode):
    """Count the copies between devices in a block."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        out = operator(*args, **(kwargs or {}))
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        if isinstance(out, torch.Tensor) and any(value.device != out.device for value in tensors):
            self.counts[str(operator)] += 1
        return out


@pytest.mark.parametrize("count", [2, 16])
def test_a_batch_reaches_another_device_in_as_many_copies_at_any_size(count):
    preprocessor = DetectorPreprocessor(**NORMALISATION).to(META)
    with CountCopies() as copies:
        sent = preprocessor(make_batch(count, stacked=True), training=True)
    assert copies.counts.total() == 3  # pictures, boxes, labels
    assert sent["inputs"].device == META
    assert all(sample.gt_instances.bboxes.device == META for sample in sent["data_samples"])


def test_a_sample_keeps_its_shapes_and_what_is_no_tensor():
    (sample,) = make_samples(3)[2:]
    sample.gt_instances.masks = ["a", "b"]
    (sent,) = send_samples([sample], META)
    assert sent.gt_instances.bboxes.shape == (2, 4) and sent.gt_instances.labels.dtype == torch.int64
    assert sent.ignored_instances.bboxes.shape == (0, 4)
    assert sent.gt_instances.masks == ["a", "b"] and sent.img_id == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("stacked", [True, False])
def test_no_copy_waits_for_the_gpu(stacked):
    cpu, gpu = DetectorPreprocessor(**NORMALISATION), DetectorPreprocessor(**NORMALISATION).cuda()
    expected = cpu(make_batch(5, stacked=stacked), training=True)
    torch.cuda.set_sync_debug_mode("error")
    try:
        sent = gpu(make_batch(5, stacked=stacked), training=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(sent["inputs"].cpu(), expected["inputs"])
    for one, other in zip(sent["data_samples"], expected["data_samples"], strict=True):
        assert torch.equal(one.gt_instances.bboxes.cpu(), other.gt_instances.bboxes)
        assert torch.equal(one.gt_instances.labels.cpu(), other.gt_instances.labels)
