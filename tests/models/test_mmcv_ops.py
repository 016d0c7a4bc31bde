import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from benchmark.models import mmcv_ops

LOW_PRECISION = [torch.bfloat16, torch.float16]


@pytest.fixture(scope="module")
def ops() -> ModuleType:
    if not mmcv_ops.install():
        pytest.skip("this mmcv has its own compiled operators")
    import mmcv.ops

    return mmcv.ops


# ---- brute-force references, one box and one sample at a time ----


def brute_iou(a: list[float], b: list[float], offset: int) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union else 0.0


def brute_nms(boxes: Tensor, scores: Tensor, threshold: float, offset: int = 0) -> list[int]:
    boxes, scores = boxes.tolist(), scores.tolist()
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(brute_iou(boxes[i], boxes[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


def brute_batched_nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[int]:
    kept = []
    for label in set(labels.tolist()):
        members = (labels == label).nonzero()[:, 0]
        kept += [int(members[i]) for i in brute_nms(boxes[members], scores[members], threshold)]
    return sorted(kept)


def brute_soft_nms(
    boxes: Tensor, scores: Tensor, decay: Callable[[float], float], min_score: float, offset: int
) -> tuple[list[int], list[float]]:
    boxes, score = boxes.tolist(), dict(enumerate(scores.tolist()))
    kept, kept_scores = [], []
    while score:
        best = max(score, key=lambda i: (score[i], -i))
        kept.append(best)
        kept_scores.append(score.pop(best))
        score = {i: s * decay(brute_iou(boxes[best], boxes[i], offset)) for i, s in score.items()}
        score = {i: s for i, s in score.items() if s >= min_score}
    return kept, kept_scores


def brute_bilinear(image: Tensor, y: float, x: float) -> float:
    height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    value = 0.0
    for row in {math.floor(y), math.ceil(y)}:
        for column in {math.floor(x), math.ceil(x)}:
            value += image[row, column].item() * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


def brute_roi_align(
    features: Tensor, rois: Tensor, size: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    output = features.new_zeros(len(rois), features.shape[1], *size)
    for k, (image, *box) in enumerate(rois.tolist()):
        left, top, right, bottom = (edge * scale - 0.5 * aligned for edge in box)
        width, height = right - left, bottom - top
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        bin_height, bin_width = height / size[0], width / size[1]
        rows, columns = sampling_ratio or math.ceil(bin_height), sampling_ratio or math.ceil(bin_width)
        for channel in range(features.shape[1]):
            plane = features[int(image), channel]
            for i in range(size[0]):
                for j in range(size[1]):
                    samples = [
                        brute_bilinear(
                            plane,
                            top + bin_height * (i + (row + 0.5) / rows),
                            left + bin_width * (j + (column + 0.5) / columns),
                        )
                        for row in range(rows)
                        for column in range(columns)
                    ]
                    output[k, channel, i, j] = sum(samples) / len(samples)
    return output


# ---- inputs ----


def crowded_boxes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Boxes on a coarse integer grid, so that IoUs repeat and meet thresholds exactly; all scores differ."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 12, (count, 2), generator=generator)
    side = torch.randint(0, 10, (count, 2), generator=generator)
    return torch.cat([corner, corner + side], dim=1).float(), torch.randperm(count, generator=generator) / count


def features_and_rois() -> tuple[Tensor, Tensor]:
    features = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rois = [
        [0, 2.0, 3.0, 9.0, 10.0],
        [1, 0.5, 1.25, 17.0, 12.75],
        [1, -6.0, -5.0, 5.0, 6.0],
        [0, 10.0, 8.0, 30.0, 25.0],
        [1, 4.0, 4.0, 4.5, 4.25],
        [0, 40.0, 40.0, 50.0, 50.0],
    ]
    return features, torch.tensor(rois, dtype=torch.float64)


# ---- nms ----


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6])
def test_nms_agrees_with_brute_force(ops: ModuleType, threshold: float, offset: int) -> None:
    boxes, scores = crowded_boxes(80, seed=1)
    dets, kept = ops.nms(boxes, scores, threshold, offset)
    assert kept.tolist() == brute_nms(boxes, scores, threshold, offset)
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])


def test_nms_takes_the_first_of_equal_scores(ops: ModuleType) -> None:
    boxes, _ = crowded_boxes(60, seed=2)
    scores = torch.arange(60) % 3 / 4
    _, kept = ops.nms(boxes, scores, 0.4)
    assert kept.tolist() == brute_nms(boxes, scores, 0.4)


@pytest.mark.parametrize("threshold", [0.5, 0.6])
def test_nms_keeps_a_box_whose_iou_is_exactly_the_threshold(ops: ModuleType, threshold: float) -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 10 * threshold]])
    _, kept = ops.nms(boxes, torch.tensor([0.9, 0.8]), threshold)
    assert kept.tolist() == [0, 1]


def test_nms_offset_counts_the_last_pixel(ops: ModuleType) -> None:
    boxes, scores = torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 2.0, 1.0]]), torch.tensor([0.9, 0.8])
    assert ops.nms(boxes, scores, 0.3, offset=0)[1].tolist() == [0, 1]  # the boxes only touch
    assert ops.nms(boxes, scores, 0.3, offset=1)[1].tolist() == [0]  # 2x2 pixels each, 2 shared: IoU 1/3


def test_nms_filters_and_limits(ops: ModuleType) -> None:
    boxes, scores = crowded_boxes(40, seed=3)
    _, kept = ops.nms(boxes, scores, 0.5, score_threshold=0.4, max_num=5)
    confident = (scores > 0.4).nonzero()[:, 0]
    expected = [int(confident[i]) for i in brute_nms(boxes[confident], scores[confident], 0.5)][:5]
    assert kept.tolist() == expected


def test_nms_of_nothing_keeps_nothing(ops: ModuleType) -> None:
    dets, kept = ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5, offset=1)
    assert dets.shape == (0, 5)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("low_boxes", [False, True])
@pytest.mark.parametrize("dtype", LOW_PRECISION)
def test_nms_in_low_precision(ops: ModuleType, dtype: torch.dtype, low_boxes: bool, autocast: bool) -> None:
    boxes, scores = crowded_boxes(50, seed=4)
    boxes, scores = boxes.to(dtype if low_boxes else torch.float32), scores.to(dtype)
    with torch.autocast("cpu", dtype, enabled=autocast):
        _, kept = ops.nms(boxes, scores, 0.5, offset=1)
    assert kept.tolist() == brute_nms(boxes, scores, 0.5, offset=1)


# ---- batched_nms ----


@pytest.mark.parametrize("split_thr", [10_000, 10], ids=["together", "class by class"])
def test_batched_nms_agrees_with_brute_force(ops: ModuleType, split_thr: int) -> None:
    boxes, scores = crowded_boxes(90, seed=5)
    labels = torch.arange(90) % 4
    dets, kept = ops.batched_nms(boxes, scores, labels, dict(type="nms", iou_threshold=0.5, split_thr=split_thr))
    assert sorted(kept.tolist()) == brute_batched_nms(boxes, scores, labels, 0.5)
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])
    assert (dets[1:, 4] < dets[:-1, 4]).all()


def test_class_agnostic_batched_nms_ignores_the_labels(ops: ModuleType) -> None:
    boxes, scores = crowded_boxes(90, seed=6)
    config = dict(type="nms", iou_threshold=0.5)
    _, kept = ops.batched_nms(boxes, scores, torch.arange(90) % 4, config, class_agnostic=True)
    assert kept.tolist() == brute_nms(boxes, scores, 0.5)


def test_class_agnostic_batched_nms_of_nothing(ops: ModuleType) -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    dets, kept = ops.batched_nms(
        torch.zeros(0, 4), torch.zeros(0), nothing, dict(iou_threshold=0.5), class_agnostic=True
    )
    assert dets.shape == (0, 5)
    assert kept.shape == (0,)


# ---- soft_nms ----


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize(
    ("method", "decay"),
    [
        ("naive", lambda iou: 0.0 if iou >= 0.5 else 1.0),
        ("linear", lambda iou: 1.0 - iou if iou >= 0.5 else 1.0),
        ("gaussian", lambda iou: math.exp(-iou * iou / 0.3)),
    ],
)
def test_soft_nms_agrees_with_brute_force(
    ops: ModuleType, method: str, decay: Callable[[float], float], offset: int
) -> None:
    boxes, scores = crowded_boxes(60, seed=7)
    dets, kept = ops.soft_nms(boxes, scores, 0.5, sigma=0.3, min_score=0.1, method=method, offset=offset)
    expected, expected_scores = brute_soft_nms(boxes, scores, decay, 0.1, offset)
    assert 1 < len(expected) < 60
    assert kept.tolist() == expected
    assert torch.equal(dets[:, :4], boxes[kept])
    torch.testing.assert_close(dets[:, 4], torch.tensor(expected_scores))


def test_soft_nms_always_keeps_the_best_box(ops: ModuleType) -> None:
    boxes = torch.tensor([[0.0, 0.0, 5.0, 5.0], [20.0, 20.0, 30.0, 30.0]])
    dets, kept = ops.soft_nms(boxes, torch.tensor([0.01, 0.02]), min_score=0.5)
    assert kept.tolist() == [1]
    assert dets[0].tolist() == pytest.approx([20, 20, 30, 30, 0.02])


def test_soft_nms_of_boxes_without_area_stays_finite(ops: ModuleType) -> None:
    boxes = torch.tensor([[3.0, 1.0, 3.0, 1.0]]).repeat(3, 1)
    dets, kept = ops.soft_nms(boxes, torch.tensor([0.5, 0.6, 0.4]), method="gaussian")
    assert kept.tolist() == [1, 0, 2]
    assert dets[:, 4].tolist() == pytest.approx([0.6, 0.5, 0.4])


def test_soft_nms_of_nothing_and_in_low_precision(ops: ModuleType) -> None:
    dets, kept = ops.soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5)
    assert kept.shape == (0,)
    boxes, scores = crowded_boxes(30, seed=8)
    low, low_kept = ops.soft_nms(boxes.bfloat16(), scores.bfloat16())
    full, full_kept = ops.soft_nms(boxes, scores.bfloat16().float())
    assert torch.equal(low_kept, full_kept)
    assert torch.equal(low, full.bfloat16())


def test_batched_soft_nms_decays_within_a_class_only(ops: ModuleType) -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(3, 1)
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1])
    dets, kept = ops.batched_nms(boxes, scores, labels, dict(type="soft_nms", iou_threshold=0.5, method="gaussian"))
    assert kept.tolist() == [0, 2, 1]
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.7, 0.8 * math.exp(-1 / 0.5)])


# ---- roi_align ----


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_agrees_with_brute_force(ops: ModuleType, sampling_ratio: int, aligned: bool) -> None:
    features, rois = features_and_rois()
    layer = ops.RoIAlign((3, 2), spatial_scale=0.5, sampling_ratio=sampling_ratio, aligned=aligned)
    pooled = layer(features, rois)
    expected = brute_roi_align(features, rois, (3, 2), 0.5, sampling_ratio, aligned)
    torch.testing.assert_close(pooled, expected)
    assert (pooled[-1] == 0).all()  # the last box lies wholly outside the image


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_gradient(ops: ModuleType, sampling_ratio: int, aligned: bool) -> None:
    features, rois = features_and_rois()
    features = features[:, :1].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: ops.roi_align(x, rois, (2, 2), 0.5, sampling_ratio, "avg", aligned), (features,)
    )


def test_roi_align_of_no_boxes(ops: ModuleType) -> None:
    features = torch.rand(2, 3, 7, 9, requires_grad=True)
    pooled = ops.RoIAlign((3, 2))(features, torch.zeros(0, 5))
    assert pooled.shape == (0, 3, 3, 2)
    pooled.sum().backward()
    assert (features.grad == 0).all()


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("low_rois", [False, True])
@pytest.mark.parametrize("dtype", LOW_PRECISION)
def test_roi_align_in_low_precision_rounds_only_the_result(
    ops: ModuleType, dtype: torch.dtype, low_rois: bool, autocast: bool
) -> None:
    features, rois = features_and_rois()
    low, rois = features.to(dtype).requires_grad_(), rois.to(dtype if low_rois else torch.float32)
    full = low.detach().float().requires_grad_()
    layer = ops.RoIAlign((3, 2), spatial_scale=0.5)
    with torch.autocast("cpu", dtype, enabled=autocast):
        pooled = layer(low, rois)
    expected = layer(full, rois.float())
    assert torch.equal(pooled, expected.to(dtype))
    pooled.sum().backward()
    expected.sum().backward()
    assert torch.equal(low.grad, full.grad.to(dtype))


def test_roi_align_takes_float32_features_under_autocast(ops: ModuleType) -> None:
    features, rois = (x.float() for x in features_and_rois())
    layer = ops.RoIAlign((3, 2), spatial_scale=0.5)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = layer(features, rois)
    assert torch.equal(pooled, layer(features, rois))


def test_roi_align_compiles(ops: ModuleType) -> None:
    features, rois = (x.float() for x in features_and_rois())
    layer = ops.RoIAlign((3, 2), spatial_scale=0.5)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    gradients = []
    for module in (layer, compiled):
        leaf = features.clone().requires_grad_()
        pooled = module(leaf, rois)
        pooled.square().sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(pooled, layer(features, rois))
    torch.testing.assert_close(*gradients)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, *LOW_PRECISION])
def test_cuda_agrees_with_the_cpu(ops: ModuleType, dtype: torch.dtype) -> None:
    boxes, scores = crowded_boxes(50, seed=9)
    kept = ops.nms(boxes.cuda().to(dtype), scores.cuda().to(dtype), 0.5)[1]
    assert kept.tolist() == ops.nms(boxes.to(dtype), scores.to(dtype), 0.5)[1].tolist()
    features, rois = (x.to(dtype) for x in features_and_rois())
    layer = ops.RoIAlign((3, 2), spatial_scale=0.5)
    results = []
    for device in ("cpu", "cuda"):
        leaf = features.to(device, copy=True).requires_grad_()
        pooled = layer(leaf, rois.to(device))
        pooled.sum().backward()
        results.append((pooled.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(*results)


# ---- what is not served ----


def test_an_unserved_operator_fails_only_when_called_and_names_itself(ops: ModuleType) -> None:
    layer = ops.RoIPool((2, 2))
    features, rois = (x.float() for x in features_and_rois())
    with pytest.raises(NotImplementedError, match=r"roi_pool_forward.*pip install --no-build-isolation"):
        layer(features, rois)


def test_max_pooling_is_not_served(ops: ModuleType) -> None:
    features, rois = features_and_rois()
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        ops.RoIAlign((2, 2), pool_mode="max")(features, rois)


def test_dunder_and_private_names_are_not_made_up(ops: ModuleType) -> None:
    extension = sys.modules["mmcv._ext"]
    assert not hasattr(extension, "__path__")
    assert not hasattr(extension, "_private")


# ---- install ----


def test_install_provides_a_real_module_once(ops: ModuleType) -> None:
    import mmcv

    extension = sys.modules["mmcv._ext"]
    assert mmcv_ops.install() is True
    assert sys.modules["mmcv._ext"] is mmcv._ext is extension
    assert importlib.util.find_spec("mmcv._ext") is extension.__spec__


def test_an_imported_compiled_extension_is_left_alone(ops: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = ModuleType("mmcv._ext")
    monkeypatch.setitem(sys.modules, "mmcv._ext", compiled)
    assert mmcv_ops.install() is False
    assert sys.modules["mmcv._ext"] is compiled


def test_a_compiled_extension_on_disk_is_left_alone(
    ops: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import mmcv

    (tmp_path / "_ext.py").write_text("")
    monkeypatch.setattr(mmcv, "__path__", [*mmcv.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    assert mmcv_ops.install() is False
    assert "mmcv._ext" not in sys.modules


def test_mmdetection_imports_and_reports_its_environment(ops: ModuleType) -> None:
    import mmdet.models  # noqa: F401
    from mmcv.utils import collect_env
    from mmdet.utils import collect_env as collect_mmdet_env

    assert "MMDetection" in collect_mmdet_env()
    assert "torchvision" in collect_env()["MMCV Compiler"]
