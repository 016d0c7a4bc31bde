"""SSDLite's anchors, losses and predictions, against torchvision's SSD and arithmetic by hand."""

import math
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from helpers import build_detector, sample, small_config
from mmengine.dataset import default_collate
from mmengine.optim import OptimWrapper
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.models.ssdlite import MultiBoxClassificationLoss, SigmoidFocalClassificationLoss

BOXES = [[20.0, 30.0, 120.0, 150.0], [150.0, 160.0, 310.0, 300.0], [60.0, 200.0, 110.0, 250.0]]
LABELS = [3, 79, 0]
FOCAL = "model.bbox_head.loss_cls={'type': 'SigmoidFocalClassificationLoss', '_delete_': True}"


@pytest.fixture(scope="module")
def detector():
    return build_detector(small_config())


def test_anchors_by_hand(detector):
    generator = detector.bbox_head.prior_generator
    assert generator.num_base_priors == [3, 6, 6, 6, 6, 6]
    first, second = generator.base_anchors[:2]
    wh = first[:, 2:] - first[:, :2]
    root = math.sqrt(2)
    torch.testing.assert_close(wh, torch.tensor([[45, 45], [45 * root, 45 / root], [45 / root, 45 * root]]))
    assert ((first[:, :2] + first[:, 2:]) / 2 == 8).all()  # the middle of a cell of 16 px
    sides = {tuple(round(v, 2) for v in pair) for pair in (second[:, 2:] - second[:, :2]).tolist()}
    r3 = math.sqrt(3)
    expected = [(90, 90), (math.sqrt(90 * 135),) * 2, (90 * root, 90 / root), (90 / root, 90 * root)]
    expected += [(90 * r3, 90 / r3), (90 / r3, 90 * r3)]
    assert sides == {tuple(round(v, 2) for v in pair) for pair in expected}


def test_map_sizes_and_anchor_count(detector):
    with torch.no_grad():
        maps = detector.eval().extract_feat(torch.zeros(1, 3, 320, 320))
    assert [tuple(m.shape[-2:]) for m in maps] == [(s, s) for s in (20, 10, 5, 3, 2, 1)]
    grid = detector.bbox_head.prior_generator.grid_priors([m.shape[-2:] for m in maps], device="cpu")
    assert sum(map(len, grid)) == 3 * 400 + 6 * (100 + 25 + 9 + 4 + 1)


def test_losses_equal_torchvisions_ssd(detector):
    """The same logits, boxes, anchors and matches through torchvision's SSD.compute_loss."""
    head = detector.bbox_head
    torch.manual_seed(1)
    maps = [torch.randn(2, 3 * 81 if i == 0 else 6 * 81, s, s) for i, s in enumerate((20, 10, 5, 3, 2, 1))]
    deltas = [torch.randn(2, 12 if i == 0 else 24, s, s) for i, s in enumerate((20, 10, 5, 3, 2, 1))]
    samples = [sample(BOXES, LABELS), sample(BOXES[:1], LABELS[:1])]
    ours = head.loss_by_feat(maps, deltas, [s.gt_instances for s in samples], [s.metainfo for s in samples])

    anchors = torch.cat(head.prior_generator.grid_priors([m.shape[-2:] for m in maps], device="cpu"))
    targets, matched = [], []
    for s in samples:
        overlaps, best = box_iou(anchors, s.gt_instances.bboxes).max(dim=1)
        matched.append(torch.where(overlaps >= 0.5, best, -1))
        targets.append({"boxes": s.gt_instances.bboxes, "labels": s.gt_instances.labels + 1})  # background is 0 there
    assert sum((m >= 0).sum() for m in matched) > 3

    def flat(levels, channels):
        return torch.cat([t.permute(0, 2, 3, 1).reshape(2, -1, channels) for t in levels], dim=1)

    logits = flat(maps, 81).roll(1, dims=-1)  # background last -> first
    ssd = SimpleNamespace(neg_to_pos_ratio=3, box_coder=_torchvision_coder())
    theirs = SSD.compute_loss(
        ssd, targets, {"bbox_regression": flat(deltas, 4), "cls_logits": logits}, [anchors, anchors], matched
    )
    assert float(ours["loss_cls"]) == pytest.approx(float(theirs["classification"]), rel=1e-5)
    assert float(ours["loss_bbox"]) == pytest.approx(float(theirs["bbox_regression"]), rel=1e-5)


def _torchvision_coder():
    from torchvision.models.detection._utils import BoxCoder

    return BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))


def test_multibox_keeps_three_negatives_a_positive_in_each_image():
    logits = torch.zeros(2, 8, 3)
    logits[0, :, 0] = torch.arange(8.0)  # later anchors are harder negatives
    labels = torch.full((2, 8), 2)
    labels[0, 0] = 1
    logits.requires_grad_()
    loss = MultiBoxClassificationLoss(neg_pos_ratio=3)(logits, labels, torch.ones(2, 8), labels != 2)
    loss.backward()
    used = logits.grad.abs().sum(-1) > 0
    assert used.tolist() == [[True, False, False, False, False, True, True, True], [False] * 8]


def test_focal_loss_by_its_formula():
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 5, 4), torch.tensor([[0, 3, 4, 4, 2]])  # 4 is background
    weights = torch.tensor([[1.0, 1.0, 1.0, 0.0, 1.0]])
    expected = 0.0
    for anchor in range(5):
        for cls in range(4):
            hit = float(labels[0, anchor] == cls)
            p = float(logits[0, anchor, cls].sigmoid())
            pt, alpha = (p, 0.25) if hit else (1 - p, 0.75)
            ce = float(binary_cross_entropy_with_logits(logits[0, anchor, cls], torch.tensor(hit)))
            expected += float(weights[0, anchor]) * alpha * (1 - pt) ** 2 * ce
    loss = SigmoidFocalClassificationLoss()(logits, labels, weights, labels != 4)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("options", [(), (FOCAL,)], ids=["multibox", "focal"])
def test_every_parameter_learns_and_predictions_come_out(options):
    model = build_detector(small_config("ssdlite_mobilenet_v3_large", *options)).train()
    images = torch.randn(2, 3, 320, 320)
    samples = [sample(BOXES, LABELS), sample(BOXES[:1], LABELS[:1])]
    losses = model.loss(images, samples)
    sum(losses.values()).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    model.eval()
    predicted = model.predict(images, samples, rescale=True)
    assert all(len(p.pred_instances.scores) <= 100 for p in predicted)


def test_an_image_without_objects_has_a_finite_loss(detector):
    losses = detector.train().loss(torch.randn(2, 3, 320, 320), [sample([], []), sample([], [])])
    assert all(float(value.detach()) == 0.0 for value in losses.values())


def test_perfect_maps_are_decoded_to_their_boxes(detector):
    """Logits and deltas made from the targets come back as the boxes they encode."""
    head = detector.bbox_head
    sizes = [(s, s) for s in (20, 10, 5, 3, 2, 1)]
    anchors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu"))
    truth = torch.tensor(BOXES)
    overlaps, best = box_iou(anchors, truth).max(dim=1)
    logits = torch.zeros(len(anchors), 81)
    logits[:, -1] = 20.0
    for box in range(len(truth)):
        anchor = int(torch.where(best == box, overlaps, 0).argmax())
        logits[anchor, LABELS[box]], logits[anchor, -1] = 20.0, 0.0
    deltas = head.bbox_coder.encode(anchors, truth[best])
    scores_by_level, deltas_by_level, start = [], [], 0
    for (height, width), count in zip(sizes, head.prior_generator.num_base_priors, strict=True):
        stop = start + height * width * count
        for flat, levels in ((logits, scores_by_level), (deltas, deltas_by_level)):
            # (H * W * A, C) -> (1, A * C, H, W)
            levels.append(flat[start:stop].reshape(1, height, width, -1).permute(0, 3, 1, 2))
        start = stop
    found = head.predict_by_feat(scores_by_level, deltas_by_level, batch_img_metas=[sample([], []).metainfo])[0]
    order = found.labels.argsort()
    wanted = torch.tensor(LABELS).argsort()
    assert found.labels[order].tolist() == sorted(LABELS)
    torch.testing.assert_close(found.bboxes[order], truth[wanted], atol=0.01, rtol=0)
    assert (found.scores > 0.99).all()


def test_head_is_float32_in_autocast(detector):
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        scores, deltas = detector.eval()._forward(torch.zeros(1, 3, 320, 320))
    assert {t.dtype for t in (*scores, *deltas)} == {torch.float32}


class CountOperators(TorchDispatchMode):
    """Count the operators that a block dispatches."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        masked = "index" in str(operator) and any(
            index is not None and index.dtype == torch.bool for index in (args[1] if isinstance(args[1], list) else ())
        )
        self.counts["nonzero of a mask" if masked else str(operator)] += 1
        return operator(*args, **(kwargs or {}))


def count_step(model, batch_size: int) -> Counter:
    """The operators of one training step, preprocessing and optimizer included."""
    objects = [[value / 5 for value in box] for box in BOXES]
    samples = [
        {"inputs": torch.randn(3, 64, 64), "data_samples": sample(objects[: i % 4], LABELS[: i % 4], 64)}
        for i in range(batch_size)
    ]
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=True))
    for _ in range(2):  # the first step makes the momentum and the anchors
        with CountOperators() as counter:
            model.train_step(default_collate(samples), optimizer)
    return counter.counts


# Each makes the host wait for the device, or copies from one to the other.
WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "_unique", "equal.default", "_to_copy")


def test_a_training_step_dispatches_as_much_at_any_batch_size_and_never_waits():
    """The operators of the rest do not depend on the size of the pictures, so small ones serve."""
    model = build_detector(load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", pretrained="none")).train()
    few, many = (count_step(model, batch_size) for batch_size in (8, 32))
    assert few == many
    assert few.total() <= 1900
    casts = few.pop("aten._to_copy.default")  # of masks to numbers, on the device itself
    assert casts <= 4
    assert not [name for name in few if any(wait in name for wait in WAITS)]


def test_deltas_are_the_box_coders(detector):
    head = detector.bbox_head
    corners = torch.rand(2, 50, 4, generator=torch.Generator().manual_seed(0)) * 100
    boxes = torch.cat([corners[..., :2], corners[..., :2] + corners[..., 2:] + 1], dim=-1)
    anchors = boxes[0].roll(1, dims=0)
    for image in range(2):
        expected = head.bbox_coder.encode(anchors, boxes[image])
        torch.testing.assert_close(head.encode(anchors, boxes)[image], expected)
