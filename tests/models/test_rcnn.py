"""Faster and Mask R-CNN: MMDetection's ResNet50 models in what they compute, frozen BN, float32 boxes."""

from dataclasses import replace
from pathlib import Path

import mmdet
import pytest
import torch
from helpers import SMALL, build_detector, sample, small_config
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.evaluation.coco_ap import STATS
from benchmark.training.evaluate import evaluate
from benchmark.training.train import train

pytestmark = pytest.mark.slow

SIDE = 128
BOXES = [[10.0, 12.0, 60.0, 70.0], [50.0, 40.0, 120.0, 126.0]]
LABELS = [3, 17]


def images_and_truth(masks: bool) -> tuple[torch.Tensor, list]:
    torch.manual_seed(3)
    samples = [sample(BOXES, LABELS, SIDE), sample(BOXES[:1], LABELS[:1], SIDE)]
    for each in samples if masks else ():
        bitmaps = torch.zeros(len(each.gt_instances), SIDE, SIDE, dtype=torch.uint8)
        for bitmap, (x1, y1, x2, y2) in zip(bitmaps, each.gt_instances.bboxes.int().tolist(), strict=True):
            bitmap[y1:y2, x1:x2] = 1
        each.gt_instances.masks = BitmapMasks(bitmaps.numpy(), SIDE, SIDE)
    return torch.randn(2, 3, SIDE, SIDE), samples


def total(losses: dict) -> torch.Tensor:
    return sum(sum(v) if isinstance(v, (list, tuple)) else v for k, v in losses.items() if "loss" in k)


@pytest.mark.parametrize("kind", ["faster", "mask"])
def test_resnet50_computes_what_mmdetections_own_config_does(kind):
    """The same weights, images and random samples give the same losses."""
    stock = Config.fromfile(Path(mmdet.__file__).parent / f".mim/configs/_base_/models/{kind}-rcnn_r50_fpn.py")
    stock.model.backbone.init_cfg = None
    cfg = load_config(CONFIGS / f"{kind}_rcnn_resnet50.py", pretrained="none")
    complete_model(cfg)
    ours, theirs = build_detector(cfg).train(), build_detector(stock).train()
    theirs.load_state_dict({k.replace("backbone.net.", "backbone."): v for k, v in ours.state_dict().items()})
    images, samples = images_and_truth(kind == "mask")
    found = []
    for model in (ours, theirs):
        torch.manual_seed(7)  # the samplers draw from it
        found.append(model.loss(images, samples))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-4, atol=1e-4, msg=name)
    assert cfg.model.data_preprocessor.mean == pytest.approx(stock.model.data_preprocessor.mean)
    assert cfg.model.data_preprocessor.std == pytest.approx(stock.model.data_preprocessor.std)


def test_batch_norm_does_not_move_in_a_training_step():
    model = build_detector(small_config("faster_rcnn_rexnet_x1.0")).train()
    norms = {n: m for n, m in model.backbone.named_modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)}
    before = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in norms.items()}
    weights = {n: p.detach().clone() for n, p in model.backbone.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    total(model.loss(*images_and_truth(masks=False))).backward()
    optimizer.step()
    assert len(before) > 20
    for name, norm in norms.items():
        for key, value in norm.state_dict().items():
            assert torch.equal(value, before[name][key]), f"{name}.{key}"
    assert any(not torch.equal(p, weights[n]) for n, p in model.backbone.named_parameters())


@pytest.mark.parametrize("config", ["faster_rcnn_rexnet_x1.0", "mask_rcnn_rexnet_x1.0"])
def test_boxes_are_float32_in_autocast(config):
    model = build_detector(small_config(config)).eval()
    images, samples = images_and_truth(masks=False)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        maps = model.extract_feat(images)
        scores, deltas = model.rpn_head(maps)
        found = model.predict(images, samples)
    assert {t.dtype for t in (*maps, *scores, *deltas)} == {torch.float32}
    assert all(p.pred_instances.bboxes.dtype == torch.float32 for p in found)


def test_every_trainable_parameter_learns():
    model = build_detector(small_config("mask_rcnn_rexnet_x1.0")).train()
    total(model.loss(*images_and_truth(masks=True))).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize(
    ("schedule", "iterations", "steps"), [(1, 90_000, [60_000, 80_000]), (2, 180_000, [120_000, 160_000])]
)
def test_one_scalar_chooses_the_schedule(schedule, iterations, steps):
    cfg = load_config(CONFIGS / "faster_rcnn_rexnet_x1.0.py", options=[f"schedule={schedule}"])
    assert cfg.train_cfg.max_iters == iterations
    assert cfg.param_scheduler[1].milestones == steps
    assert cfg.param_scheduler[0].end == 500 * schedule


def test_the_demo_trains_batch_norm_and_shrinks_the_pictures():
    cfg = load_config(CONFIGS / "mask_rcnn_rexnet_x1.0.py", demo=True)
    assert cfg.model.backbone.norm_eval is False
    assert cfg.model.backbone.norm_requires_grad is True
    assert cfg.model.roi_head.mask_head.num_classes == cfg.model.roi_head.bbox_head.num_classes == 6
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert [step.scale for step in loader.dataset.pipeline if step.type == "Resize"] == [(256, 256)]


def test_mask_rcnn_trains_and_is_evaluated_by_its_own_tool(demo_data, tmp_path):
    small = [*SMALL, "train_images=16", "val_images=6"]
    small += ["train_dataloader.num_workers=0", "val_dataloader.num_workers=0"]
    options = Options(CONFIGS / "mask_rcnn_rexnet_x1.0.py", None, small, demo_data, demo=True, batch_size=2)
    trained = train(replace(options, work_dir=tmp_path), steps=2, pictures=1)
    assert set(trained.metrics) == {f"{prefix}_{name}" for prefix in ("box", "mask") for name in STATS}
    with pytest.raises(UserError, match=r"evaluate it with tools/eval_segmentation\.py"):
        evaluate(options, tmp_path / "iter_2.pth", tool="eval_detection.py")
    again = evaluate(options, tmp_path / "iter_2.pth", tool="eval_segmentation.py", per_class=True)
    assert again.metrics == trained.metrics
    assert set(again.per_class) == {"box", "mask"}
