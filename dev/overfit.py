"""Overfit a detector to a few real pictures, from scratch: proof that data, losses and evaluation fit together.

    python dev/overfit.py configs/ssdlite_rexnet_x1.0.py --data-root data/coco --pictures 8 --steps 300

The pictures are the first of the training split with one to six objects, none a crowd and none below 2% of the picture.
The run is an ordinary one: it ends with result.json and drawings in the work dir. Exit status 1 if AP50 stays below 80.
"""

import argparse
import json
import sys
from pathlib import Path

from backbones.errors import UserError
from benchmark.cli import run

GOAL = 80.0  # AP50 in percent
SMALLEST = 0.02  # share of the picture
WARM_UP = {"type": "LinearLR", "start_factor": 0.01, "by_epoch": False, "begin": 0, "end": 20}


def choose(truth: dict, count: int) -> list[dict]:
    """Return the first pictures that a detector without a long training can be expected to remember."""
    chosen = []
    for image in truth["images"]:
        own = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        shares = [a["area"] / (image["width"] * image["height"]) for a in own]
        if 1 <= len(own) <= 6 and min(shares) >= SMALLEST and not any(a["iscrowd"] for a in own):
            chosen.append(image)
    if len(chosen) < count:
        raise UserError(f"Only {len(chosen)} pictures fit, expected {count}.")
    return chosen[:count]


def make_subset(source: Path, root: Path, count: int) -> None:
    """Lay out a data set whose training and validation split are the same few pictures."""
    truth = json.loads((source / "annotations/instances_train2017.json").read_text())
    images = choose(truth, count)
    ids = {image["id"] for image in images}
    subset = {**truth, "images": images, "annotations": [a for a in truth["annotations"] if a["image_id"] in ids]}
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split in ("train2017", "val2017"):
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(subset))
        (root / split).mkdir(exist_ok=True)
        for image in images:
            link = root / split / image["file_name"]
            if not link.exists():
                link.symlink_to((source / "train2017" / image["file_name"]).resolve())


def main() -> None:
    """Read the arguments, train, and compare AP50 with the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--side", type=int, default=320, help="of the network's input in pixels")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/overfit"))
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()

    from benchmark.cli import Options
    from benchmark.config.load import load_config
    from benchmark.records.figures import format_figures
    from benchmark.training.train import train

    root = args.work_dir / "data"
    make_subset(args.data_root, root, args.pictures)
    pipeline = load_config(args.config).train_dataloader.dataset.pipeline
    kept = [step.to_dict() for step in pipeline if step.type != "RandomFlip"]
    for step in kept:
        if step["type"] == "Resize":
            step["scale"] = (args.side, args.side)
        if step["type"] == "SSDSample":
            step.update(size=args.side, augment=False, flip_prob=0.0)
    square = {"type": "Resize", "scale": (args.side, args.side), "keep_ratio": False}
    test = [{"type": "LoadImage"}, next((step for step in kept if step["type"] == "Resize"), square)]
    test.append({"type": "PackSample", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")})
    options = [
        f"train_dataloader.dataset.pipeline={kept}",
        f"val_dataloader.dataset.pipeline={test}",
        "train_dataloader.num_workers=1",
        "val_dataloader.num_workers=1",
        f"optim_wrapper.optimizer.lr={args.learning_rate}",
        "auto_scale_lr.enable=False",
        f"train_cfg.max_iters={args.steps}",
        f"train_cfg.val_interval={args.steps}",
        f"param_scheduler={[WARM_UP]}",
        "default_hooks.logger.interval=10",
        "log_processor.window_size=10",
        "model.backbone.frozen_stages=-1",
        "model.backbone.norm_eval=False",
        "model.backbone.norm_requires_grad=True",
        *args.cfg_options,
    ]
    result = train(
        Options(args.config, args.work_dir, options, root, batch_size=args.pictures),
        pretrained="none",
        overwrite=True,
        pictures=args.pictures,
    )
    assert result.training and result.training.hours is not None  # it was trained just now
    minutes = 60 * result.training.hours
    print(format_figures(result.metrics))
    print(f"trained {minutes:.1f} minutes, drawn in {args.work_dir / 'pictures'}")
    reached = [value or 0.0 for name, value in result.metrics.items() if name in ("box_AP50", "mask_AP50")]
    sys.exit(0 if min(reached) > GOAL else 1)


if __name__ == "__main__":
    run(main)
