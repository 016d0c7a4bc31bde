"""Time what this project does otherwise than MMDetection, both side by side: python dev/speed.py [--pictures DIR]

Prints one table and writes it into docs/performance.md. Each pair is run alternately on one core, and the medians of
its rounds are compared, in CPU time of this process: other work on the machine disturbs both alike.
"""

import argparse
import contextlib
import copy
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


REPORT = Path(__file__).parents[1] / "docs/performance.md"
STOCK_MEAN = (123.675, 116.28, 103.53)  # RGB
# Of an evaluation: images, boxes found, objects, classes.
EVALUATION = (2_500, 250_000, 18_000, 80)
RESAMPLES = 1_000
_BACKGROUND = 6.4  # a logit
QUICK_EVALUATION = (250, 25_000, 1_800, 80)


# Runs a tool until its training's first iteration begins, then prints the CPU seconds of all its processes.
START = """
import multiprocessing, os, runpy, sys
import benchmark.training.train as training

train, tick = training.train, os.sysconf("SC_CLK_TCK")

def cpu_seconds():
    children = multiprocessing.active_children()
    workers = [open(f"/proc/{child.pid}/stat").read().rpartition(")")[2].split() for child in children]
    return sum(os.times()[:4]) + sum(int(stat[11]) + int(stat[12]) for stat in workers) / tick

def until_first_iteration(*arguments, **options):
    from mmengine.hooks import Hook

    class Stop(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            print(cpu_seconds(), flush=True)
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(0)

    return train(*arguments, hooks=[Stop()], **options)

training.train = until_first_iteration
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Row:
    """A comparison: what was measured of ours and of theirs, their ratio, and what it is to be."""

    name: str
    ours: float
    theirs: float | None  # None where there is nothing to compare with; such a row has a ``limit``
    unit: str
    target: float | None = None  # greatest of ours / theirs; None where ``limit`` says it
    limit: float | None = None  # greatest of ours

    @property
    def ratio(self) -> float | None:
        return None if self.theirs is None else self.theirs / self.ours

    @property
    def wanted(self) -> str:
        if self.limit is not None:
            return f"at most {self.limit:g}"
        return f"{1 / self.target:.1f}x" if self.target else "-"

    @property
    def met(self) -> str:
        if self.limit is not None:
            return "yes" if self.ours <= self.limit else "no"
        return "-" if not (self.target and self.theirs) else "yes" if self.ours / self.theirs <= self.target else "no"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="data in COCO's layout; generated ones by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and a tenth of the boxes")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    args = parser.parse_args()

    from mmengine.registry import init_default_scope

    from benchmark.training.registration import register

    register()
    init_default_scope("mmdet")
    rounds = 3 if args.quick else 9
    with tempfile.TemporaryDirectory() as folder:
        root = args.pictures or make_pictures(Path(folder))
        rows = [
            *samples(root, rounds),
            between_processes(root),
            *operators(),
            optimizer(rounds),
            *start(Path(folder)),
            *evaluation(Path(folder), QUICK_EVALUATION if args.quick else EVALUATION, rounds),
            beside_the_network(Path(folder), root),
        ]
    text = "\n".join(report(rows, "real pictures" if args.pictures else "generated pictures"))
    print(text)
    if args.json:
        args.json.write_text(
            json.dumps([{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows], indent=2)
        )
    if REPORT.is_file() and not args.quick:
        from benchmark.reporting.markers import replace_between_markers

        replace_between_markers(REPORT, text, "speed")


def report(rows: Iterable[Row], pictures: str) -> list[str]:
    """Return the table, and what it was measured on."""
    from tabulate import tabulate

    from benchmark.measuring.machine import processor

    table = [
        (
            row.name,
            f"{row.ours:.4g}",
            _number(row.theirs, ".4g"),
            row.unit,
            _number(row.ratio, ".1f", "x"),
            row.wanted,
            row.met,
        )
        for row in rows
    ]
    headings = ("", "ours", "theirs", "unit", "ratio", "target", "met")
    return [
        tabulate(table, headings, tablefmt="github", disable_numparse=True),
        "",
        f"One core of {processor()}, {pictures}; {time.strftime('%-d %B %Y')}.",
    ]


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def alternate(rounds: int, *functions: Callable[[], Any]) -> list[float]:
    """Run functions in turn and return the median of each one's CPU seconds; the first round does not count."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, own in zip(functions, seconds, strict=True):
            begin = time.process_time()
            function()
            own.append(time.process_time() - begin)
    return [statistics.median(own[1:]) for own in seconds]


def make_pictures(folder: Path) -> Path:
    """Generate a data set with JPEGs of COCO's size."""
    from benchmark.data.demo.pictures import make_demo_data

    return make_demo_data(folder / "demo", train_images=64, val_images=64)


def samples(root: Path, rounds: int) -> list[Row]:
    """Compare training samples: the configs' pipelines against MMDetection's."""
    resize = {"type": "Resize", "scale": (1200, 800), "keep_ratio": True}
    last: list[dict[str, Any]] = [{"type": "RandomFlip", "prob": 0.5}, {"type": "PackDetInputs"}]
    first = {"type": "LoadImageFromFile"}
    distortion = {"brightness_delta": 32, "contrast_range": (0.5, 1.5), "saturation_range": (0.5, 1.5), "hue_delta": 18}
    stock: dict[str, list[dict[str, Any]]] = {
        "ssdlite": [
            first,
            {"type": "LoadAnnotations", "with_bbox": True},
            {"type": "Expand", "mean": STOCK_MEAN, "to_rgb": True, "ratio_range": (1, 4)},
            {"type": "MinIoURandomCrop", "min_ious": (0.1, 0.3, 0.5, 0.7, 0.9), "min_crop_size": 0.3},
            {"type": "Resize", "scale": (320, 320), "keep_ratio": False},
            last[0],
            {"type": "PhotoMetricDistortion", **distortion},
            last[1],
        ],
        "faster_rcnn": [first, {"type": "LoadAnnotations", "with_bbox": True}, resize, *last],
        "mask_rcnn": [first, {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True}, resize, *last],
    }
    titles = {"ssdlite": "SSDLite", "faster_rcnn": "Faster R-CNN", "mask_rcnn": "Mask R-CNN"}
    targets = {"ssdlite": 1 / 6, "faster_rcnn": 2 / 3, "mask_rcnn": 1 / 3}
    rows = []
    for task, theirs in stock.items():
        ours, infos = training_set(task, root)
        seconds = alternate(rounds, *(partial(run_all, steps, infos) for steps in (ours, compose(theirs))))
        own, other = (1000 * each / len(infos) for each in seconds)
        rows.append(Row(f"{titles[task]}'s training sample", own, other, "ms", target=targets.get(task)))
    return rows


def compose(steps: Sequence[dict]) -> Callable[[dict], dict]:
    from mmengine.dataset import Compose

    return Compose(steps)


def training_set(task: str, root: Path) -> tuple[Callable[[dict], dict], list[dict]]:
    """Return a config's pipeline, and what its data set hands to it."""
    from mmdet.registry import DATASETS

    from benchmark.config.complete import complete_model
    from benchmark.config.load import load_config
    from benchmark.config.names import CONFIGS

    cfg = load_config(CONFIGS / f"{task}_rexnet_x1.0.py", data_root=root, pretrained="none")
    complete_model(cfg)
    dataset = cfg.train_dataloader.dataset.copy()
    pipeline = dataset.pop("pipeline")
    content = json.loads((root / "annotations/instances_train2017.json").read_bytes())
    dataset.metainfo = {"classes": tuple(category["name"] for category in content["categories"])}
    masks = [{"type": "LoadAnnotations", "with_mask": True}] if task == "mask_rcnn" else []
    found = DATASETS.build({**dataset, "pipeline": masks})
    return compose(pipeline), [found.get_data_info(i) for i in range(min(len(found), 80))]


def run_all(pipeline: Callable[[dict], dict], infos: Sequence[dict]) -> None:
    """Make every sample once, with the same random numbers each time."""
    np.random.seed(0)
    random.seed(0)
    for info in infos:
        pipeline(copy.deepcopy(info))


def between_processes(root: Path) -> Row:
    """Compare what a batch costs the main process that data-loading ones make: samples in one piece, and as objects."""
    from mmengine.dataset import default_collate
    from torch.utils.data import DataLoader

    from benchmark.data.packing import collate_samples

    pipeline, infos = training_set("ssdlite", root)
    made = [pipeline(copy.deepcopy(info)) for info in infos] * (1600 // len(infos))

    def receive(collate: Callable[..., Any]) -> None:
        for _ in DataLoader(made, batch_size=32, num_workers=2, collate_fn=collate):  # type: ignore[arg-type]
            pass

    ours, theirs = alternate(
        3, partial(receive, partial(collate_samples, stack=True)), partial(receive, default_collate)
    )
    batches = len(made) / 32
    return Row("receiving 32 samples from a process", 1000 * ours / batches, 1000 * theirs / batches, "ms")


def operators() -> list[Row]:
    """Count the operators of SSDLite's training step; theirs is the same step with MMDetection's targets."""
    rows = []
    for batch in (8, 32):
        ours, theirs = (count_step(batch, stock=stock) for stock in (False, True))
        rows.append(Row(f"operators of SSDLite's step, batch {batch}", ours, theirs, "", limit=1900))
    return rows


def count_step(batch: int, *, stock: bool) -> int:
    """Count what a step dispatches: MMDetection's way is a list of pictures, targets one by one, SGD's plain loop."""
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.dataset import default_collate, pseudo_collate
    from mmengine.optim import OptimWrapper
    from mmengine.structures import InstanceData
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]  # torch gives it no types
            self.count = 0

        def __torch_dispatch__(
            self, operator: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict | None = None
        ) -> Any:
            self.count += 1
            return operator(*args, **(kwargs or {}))

    def sample(objects: int) -> dict:
        side = 64
        corners = torch.rand(objects, 2) * side / 2
        truth = InstanceData(
            bboxes=torch.cat([corners, corners + side / 3], dim=1), labels=torch.randint(80, (objects,))
        )
        meta = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), (side, side))
        sample = DetDataSample(metainfo=meta, gt_instances=truth)
        return {"inputs": torch.rand(3, side, side), "data_samples": sample}

    torch.manual_seed(0)
    model = ssdlite(stock=stock).train()
    data = [sample(objects=7) for _ in range(batch)]  # COCO has 7 objects a picture
    rule = {"fused": False, "foreach": False} if stock else {"fused": True}
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=4e-5, **rule))
    counter = Counter()
    for _ in range(2):  # the first step makes what stays
        counter.count = 0
        with counter:
            model.train_step((pseudo_collate if stock else default_collate)(data), optimizer)
    return counter.count


def ssdlite(*, stock: bool, classes: int = 80) -> Any:
    """Build SSDLite + ReXNet x1.0; with MMDetection's assigner, sampler and loop over images if ``stock``."""
    import torch
    from mmdet.models.task_modules.samplers import PseudoSampler
    from mmdet.registry import TASK_UTILS

    from benchmark.config.complete import complete_model
    from benchmark.config.load import load_config
    from benchmark.config.names import CONFIGS
    from benchmark.models.build import build_model

    cfg = load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", pretrained="none")
    complete_model(cfg)
    cfg.model.bbox_head.num_classes = classes
    model = build_model(cfg)
    if not stock:
        return model
    head = model.bbox_head
    head.train_cfg = {"allowed_border": -1, "pos_weight": -1}
    head.assigner = TASK_UTILS.build({**cfg.model.train_cfg.assigner, "type": "MaxIoUAssigner"})
    head.sampler, head._raw_positive_infos = PseudoSampler(), {}

    def loss_by_feat(
        scores: list[Any], deltas: list[Any], objects: list[Any], metas: list[dict], ignored: list[Any] | None = None
    ) -> dict[str, list[Any]]:
        anchors, valid = head.get_anchors([each.shape[-2:] for each in scores], metas, device=scores[0].device)
        *targets, count = head.get_targets(anchors, valid, objects, metas, batch_gt_instances_ignore=ignored)
        labels, weights, boxes, box_weights = (torch.cat(levels, dim=1) for levels in targets)
        logits, flat_deltas = head.flatten(scores, deltas)
        images = zip(logits, flat_deltas, labels, weights, boxes, box_weights, strict=True)
        losses = [head_loss(head, count, *image) for image in images]
        return {"loss_cls": [cls for cls, _ in losses], "loss_bbox": [box for _, box in losses]}

    head.loss_by_feat = loss_by_feat
    return model


def head_loss(
    head: Any,
    count: int,
    logits: "Tensor",
    deltas: "Tensor",
    labels: "Tensor",
    weights: "Tensor",
    boxes: "Tensor",
    box_weights: "Tensor",
) -> tuple["Tensor", "Tensor"]:
    """Return MMDetection's SSDHead's losses of one image (``loss_by_feat_single``)."""
    import torch.nn.functional as F
    from mmdet.models.losses import smooth_l1_loss

    loss = F.cross_entropy(logits, labels, reduction="none") * weights
    positive = ((labels >= 0) & (labels < head.num_classes)).nonzero(as_tuple=False).reshape(-1)
    negative = (labels == head.num_classes).nonzero(as_tuple=False).view(-1)
    hardest, _ = loss[negative].topk(min(3 * positive.size(0), negative.size(0)))
    loss_cls = (loss[positive].sum() + hardest.sum()) / count
    return loss_cls[None], smooth_l1_loss(deltas, boxes, box_weights, beta=head.smoothl1_beta, avg_factor=count)


def optimizer(rounds: int) -> Row:
    """Compare SGD on the parameters of SSDLite + ReXNet x1.0: fused against PyTorch's loop."""
    import torch

    model = ssdlite(stock=False)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) * 1e-6
    rules = ({"fused": True}, {"fused": False, "foreach": False})
    optimizers = [
        torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=4e-5, **rule) for rule in rules
    ]

    def run(each: torch.optim.Optimizer) -> None:
        for _ in range(5):
            each.step()

    ours, theirs = (1000 * seconds / 5 for seconds in alternate(rounds, *(partial(run, each) for each in optimizers)))
    return Row("SGD's step", ours, theirs, "ms")


def start(folder: Path) -> list[Row]:
    """Measure the way of a command to SSDLite's first iteration, with generated data there: CPU time, first line."""
    from benchmark.data.demo.pictures import make_demo_data

    data = make_demo_data(folder / "start", train_images=40, val_images=4)
    arguments = ["tools/train.py", "configs/ssdlite_rexnet_x1.0.py", "--demo", "--overwrite"]
    arguments += ["--data-root", str(data), "--work-dir", str(folder / "run")]
    command = [sys.executable, "-c", START, *arguments]
    seconds, first_lines = [], []
    for _ in range(4):  # the first one reads the files into memory
        begin = time.perf_counter()
        with subprocess.Popen(
            command, cwd=REPORT.parents[1], stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as run:
            assert run.stdout is not None
            run.stdout.readline()
            first_lines.append(time.perf_counter() - begin)
            seconds.append(float(run.stdout.read().split()[-1]))
    return [
        Row("from the command to SSDLite's first iteration", statistics.median(seconds[1:]), None, "s", limit=10),
        Row("from the command to its first line", statistics.median(first_lines[1:]), None, "s", limit=2),
    ]


def evaluation(folder: Path, size: tuple[int, int, int, int], rounds: int) -> list[Row]:
    """Compare COCO's AP of generated boxes with pycocotools', figures included; time its bootstrap. Both run once."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from benchmark.evaluation.bootstrap import bootstrap, match
    from benchmark.evaluation.coco_ap import STATS, coco_ap

    truth, detections = make_boxes(folder, *size)

    def theirs() -> np.ndarray:
        with contextlib.redirect_stdout(None):
            content = COCO(str(truth))
            referee = COCOeval(content, content.loadRes([dict(each) for each in detections]), "bbox")
            referee.evaluate()
            referee.accumulate()
            referee.summarize()
        return referee.stats

    (ours,) = alternate(min(rounds, 3), lambda: coco_ap(truth, detections))
    begin = time.process_time()
    stats = theirs()
    seconds = time.process_time() - begin
    figures, _ = coco_ap(truth, detections)
    assert figures == {name: 100 * stats[place] for name, place in STATS.items()}, (figures, stats)
    begin = time.process_time()
    bootstrap(match(truth, detections), RESAMPLES)
    return [
        Row(f"COCO's AP of {size[1]:,} boxes", ours, seconds, "s", target=1 / 60),
        Row(f"their intervals, {RESAMPLES:,} resamples", time.process_time() - begin, None, "s"),
    ]


def beside_the_network(folder: Path, root: Path) -> Row:
    """Measure an evaluation of SSDLite at batch 32 but for its network: loading, boxes, NMS, gathering, AP, writing.

    The weights are random, with class biases by which some 900 boxes of a COCO picture reach the NMS.
    """
    import torch

    from benchmark.cli import Options
    from benchmark.config.names import CONFIGS
    from benchmark.models.ssdlite import SSDLite, SSDLiteHead
    from benchmark.training.evaluate import evaluate
    from benchmark.training.runner import BenchmarkRunner

    content = json.loads((root / "annotations/instances_train2017.json").read_bytes())
    names = [category["name"] for category in content["categories"]]
    classes = len(names)
    config = CONFIGS / "ssdlite_rexnet_x1.0.py"
    sets = [f"{split}_dataloader.dataset.metainfo.classes={names}" for split in ("train", "val")]
    overrides = [*sets, f"model.bbox_head.num_classes={classes}", "val_dataloader.num_workers=0"]
    model = ssdlite(stock=False, classes=classes)
    for conv in model.bbox_head.cls_convs:
        torch.nn.init.normal_(conv[-1].bias)
        conv[-1].bias.data[classes :: classes + 1] = _BACKGROUND
    torch.save({"state_dict": model.state_dict()}, folder / "weights.pth")
    seconds = {"network": 0.0, "begin": 0.0}

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            begin = time.process_time()
            result = function(*args)
            seconds["network"] += time.process_time() - begin
            return result

        return run

    def val(runner: BenchmarkRunner) -> Any:
        seconds["begin"] = time.process_time()
        return super(BenchmarkRunner, runner).val()

    with (
        patch.object(SSDLite, "extract_feat", timed(SSDLite.extract_feat)),
        patch.object(SSDLiteHead, "forward", timed(SSDLiteHead.forward)),
        patch.object(BenchmarkRunner, "val", val),
        contextlib.redirect_stdout(None),
    ):
        options = Options(config, cfg_options=overrides, data_root=root, work_dir=folder / "evaluation")
        evaluate(options, folder / "weights.pth", tool="eval_detection.py")
    beside = time.process_time() - seconds["begin"] - seconds["network"]
    return Row("an evaluation beside its network", 100 * beside / seconds["network"], None, "%", limit=20)


def make_boxes(folder: Path, images: int, boxes: int, objects: int, classes: int) -> tuple[Path, list[dict]]:
    """Generate objects and boxes found, one in three of them near an object."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray:
        return np.concatenate([rng.uniform(0, 400, (count, 2)), rng.lognormal(4, 0.8, (count, 2))], axis=1)

    truth_boxes, truth_images = draw(objects), rng.integers(images, size=objects)
    truth_classes = rng.integers(classes, size=objects)
    found, found_images, found_classes = (
        draw(boxes),
        rng.integers(images, size=boxes),
        rng.integers(classes, size=boxes),
    )
    near = rng.integers(objects, size=boxes // 3)
    found[: len(near)] = truth_boxes[near] * rng.normal(1, 0.08, (len(near), 4))
    found_images[: len(near)], found_classes[: len(near)] = truth_images[near], truth_classes[near]
    scores = rng.random(boxes)
    content = {
        "images": [{"id": i + 1, "width": 640, "height": 480, "file_name": f"{i}.jpg"} for i in range(images)],
        "categories": [{"id": i + 1, "name": str(i)} for i in range(classes)],
        "annotations": [
            {"id": i + 1, "image_id": int(image) + 1, "category_id": int(label) + 1, "bbox": box, "iscrowd": 0}
            | {"area": box[2] * box[3]}
            for i, (box, image, label) in enumerate(zip(truth_boxes.tolist(), truth_images, truth_classes, strict=True))
        ],
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps(content))
    columns = zip(found.tolist(), found_images, found_classes, scores.tolist(), strict=True)
    return path, [
        {"image_id": int(image) + 1, "category_id": int(label) + 1, "bbox": box, "score": score}
        for box, image, label, score in columns
    ]


if __name__ == "__main__":
    main()
