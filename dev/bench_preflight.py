"""Time the check of a data set of COCO's size: python dev/bench_preflight.py [--folder DIR]

Makes annotation files like COCO 2017's (118 287 training images with 860 001 objects, 5 000 validation images with
36 781; polygons of 3 to 38 points, every 86th object a crowd with run lengths) and their image files, runs
tools/check_data.py on them as a user does, and fails if that takes 60 s or longer. Pictures are hard links to a few
files, so that opening them costs what it costs in memory, not on a disk.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson
from PIL import Image

from benchmark.config.load import load_data_config
from benchmark.config.names import CONFIGS

SPLITS = {"train2017": (1, 118_287, 860_001), "val2017": (200_001, 5_000, 36_781)}  # first id, images, objects
SIZES = ((640, 480), (480, 640), (640, 427), (427, 640), (500, 375), (375, 500), (640, 360), (612, 612))
CROWDS = 86  # every so many objects
LIMIT = 60  # s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep the data there, or use what is there")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        root = folder or Path(temporary) / "coco"
        if not root.exists():
            make_data(root)
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, CONFIGS.parent / "tools/check_data.py", "coco", "--data-root", root], check=True
        )
        seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{seconds:.1f} s on {os.cpu_count()} cores, {used.ru_utime:.1f} s of them user CPU and {used.ru_stime:.1f} s "
        f"system, {used.ru_maxrss / 1e6:.1f} GB of memory"
    )
    sys.exit(seconds >= LIMIT)


def make_data(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    pictures = [root / f"{width}x{height}.jpg" for width, height in SIZES]
    for picture, size in zip(pictures, SIZES, strict=True):
        Image.new("RGB", size, "gray").save(picture)
    for split, (first, images, objects) in SPLITS.items():
        (root / split).mkdir()
        for i in range(images):
            os.link(pictures[(first + i) % len(SIZES)], root / split / file_name(first + i))
        (root / f"annotations/instances_{split}.json").write_bytes(annotations(first, images, objects))


def annotations(first: int, images: int, objects: int) -> bytes:
    names = load_data_config("coco").val_dataloader.dataset.metainfo.classes
    rng = np.random.default_rng(0)
    owners = (first + np.sort(rng.integers(0, images, objects))).tolist()
    boxes = rng.uniform((0, 0, 0.02, 0.02), (0.5, 0.5, 0.5, 0.5), (objects, 4))  # in parts of the picture
    content = {
        "images": [image(first + i) for i in range(images)],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
        "annotations": [annotation(rng, i, owners[i], boxes[i], len(names)) for i in range(objects)],
    }
    return orjson.dumps(content)


def image(number: int) -> dict:
    width, height = SIZES[number % len(SIZES)]
    return {"id": number, "file_name": file_name(number), "width": width, "height": height}


def annotation(rng: np.random.Generator, i: int, owner: int, box: np.ndarray, classes: int) -> dict:
    width, height = SIZES[owner % len(SIZES)]
    x, y, w, h = np.round(box * (width, height, width, height), 2).tolist()
    crowd = i % CROWDS == 0
    points = (rng.random((rng.integers(3, 39), 2)) * (w, h) + (x, y)).round(2)  # inside the box
    runs = rng.multinomial(width * height, np.full(101, 1 / 101)).tolist()
    return {
        "id": i + 1,
        "image_id": owner,
        "category_id": i % classes + 1,
        "bbox": [x, y, w, h],
        "area": round(0.6 * w * h, 4),
        "iscrowd": int(crowd),
        "segmentation": {"size": [height, width], "counts": runs} if crowd else [points.ravel().tolist()],
    }


def file_name(number: int) -> str:
    return f"{number:012d}.jpg"


if __name__ == "__main__":
    main()
