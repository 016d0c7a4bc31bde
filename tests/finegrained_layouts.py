"""Miniature copies of the official layouts: the real file formats, a few pictures."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import Flowers102

USED = 3  # classes that have pictures
TRAIN, TEST = 4, 2  # pictures a class

# The smallest backbone on small pictures, in one process.
SMALL = (
    "model.backbone.name=mobilenet_v3_small",
    "train_dataloader.num_workers=0",
    "val_dataloader.num_workers=0",
    "train_dataloader.dataset.pipeline.0.size=48",
    "val_dataloader.dataset.pipeline.0.size=48",
    "val_dataloader.dataset.pipeline.0.resize=48",
)


def picture(path: Path, label: int, side: int = 72) -> None:
    """Write a noisy picture whose brightest channel tells the label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, str(path.name))) + label)
    pixels = rng.integers(0, 60, (side, side + 20, 3), dtype=np.uint8)
    pixels[..., label % 3] += 180
    Image.fromarray(pixels).save(path, quality=90)


def food101(root: Path) -> None:
    folder = root / "food-101"
    names = [f"dish_{index:03d}" for index in range(101)]
    for split, count, first in (("train", TRAIN, 0), ("test", TEST, 1000)):
        content = {}
        for label, name in enumerate(names):
            content[name] = [f"{name}/{first + index}" for index in range(count if label < USED else 0)]
            for entry in content[name]:
                picture(folder / "images" / f"{entry}.jpg", label)
        (folder / "meta").mkdir(exist_ok=True)
        (folder / "meta" / f"{split}.json").write_text(json.dumps(content))


def cars(root: Path) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array([f"car {i}" for i in range(196)], dtype=object)})
    for split, count, file in (
        ("train", TRAIN, "devkit/cars_train_annos.mat"),
        ("test", TEST, "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        for label in range(USED):
            for index in range(count):
                name = f"{label * count + index + 1:05d}.jpg"
                picture(folder / f"cars_{split}" / name, label)
                rows.append((1, 1, 50, 50, label + 1, name))
        fields = [(key, object) for key in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
        savemat(folder / file, {"annotations": np.array(rows, dtype=fields)})


def aircraft(root: Path) -> None:
    data = root / "fgvc-aircraft-2013b/data"
    names = [f"Type {index}-{index}00" for index in range(100)]
    data.mkdir(parents=True)
    (data / "variants.txt").write_text("".join(f"{name}\n" for name in names))
    lines: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number, (split, label, _) in enumerate(
        (split, label, index)
        for split, count in (("train", TRAIN), ("val", TEST), ("test", TEST))
        for label in range(USED)
        for index in range(count)
    ):
        picture(data / f"images/{number:07d}.jpg", label)
        lines[split].append(f"{number:07d} {names[label]}\n")
    lines["trainval"] = lines["train"] + lines["val"]
    for split, content in lines.items():
        (data / f"images_variant_{split}.txt").write_text("".join(content))


def flowers102(root: Path) -> None:
    folder = root / "flowers-102"
    labels, ids = [], {"trnid": [], "valid": [], "tstid": []}
    for key, count in (("trnid", TRAIN), ("valid", TEST), ("tstid", TEST)):
        for label in range(USED):
            for _ in range(count):
                labels.append(label + 1)
                ids[key].append(len(labels))
                picture(folder / f"jpg/image_{len(labels):05d}.jpg", label)
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    savemat(folder / "setid.mat", {key: np.array([values], dtype=np.uint16) for key, values in ids.items()})


def imagefolder(root: Path) -> None:
    for split, count in (("train", TRAIN), ("test", TEST)):
        for label in range(USED):
            for index in range(count):
                picture(root / split / f"class {label}" / f"{index}.jpg", label)


MAKERS = {"food101": food101, "cars": cars, "aircraft": aircraft, "flowers102": flowers102, "imagefolder": imagefolder}
FLOWERS = Flowers102.classes
