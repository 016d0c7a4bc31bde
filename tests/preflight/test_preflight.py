"""The check of data and settings: every fault alone, what the data set and the evaluation make of it, hostile files."""

import hashlib
import itertools
import json
import math
import os
import pickle
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finegrained_layouts import MAKERS
from helpers import build_dataset, build_detector, pycocotools_ap, small_config
from mmengine.config import Config, ConfigDict
from PIL import Image
from pycocotools import mask as mask_codec

from backbones.errors import UserError
from benchmark.config.complete import DATALOADERS
from benchmark.config.load import load_config, load_data_config
from benchmark.config.names import CONFIGS
from benchmark.data.annotations import read_annotations
from benchmark.evaluation.coco_ap import STATS, coco_ap
from benchmark.preflight import Depth, Preflight, Row, check_data, table_row
from benchmark.preflight.files import Pictures, check_decoding
from benchmark.preflight.masks import decode_counts
from benchmark.preflight.run import check_disk, check_learning_rate, check_weights

pytestmark = pytest.mark.slow

NAMES = ("cat", "dog")
SIZE = (48, 40)  # px, width and height of the pictures
TRAIN, VAL = "train2017", "val2017"
TRIANGLE = [2, 3, 20, 3, 11, 30]
RUNS = {"size": [40, 48], "counts": [100, 60, 48 * 40 - 160]}
EMPTY = "boxes of zero or negative size, under a pixel or outside their image"
NOT_FINITE = "boxes that are not finite or over 1000000 px"
PARTLY = "boxes partly outside their image"
MISSING_MASK = "annotations without a mask"
NO_MASK = "masks that are no polygons from 3 points and no run lengths"
OTHER_SIZE = "pictures of another size than annotated"
TAGGED = "pictures with an EXIF orientation tag"
Change = Callable[[dict[str, Any]], Any]


def content(split: str) -> dict[str, Any]:
    """Two pictures, the second without an object."""
    first = 1 if split == TRAIN else 11
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": SIZE[0], "height": SIZE[1]} for i in (first, first + 1)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}],
        "annotations": [
            {
                "id": number,
                "image_id": first,
                "category_id": category,
                "bbox": [2, 3.5, 20, 30],
                "area": 300.5,
                "iscrowd": crowd,
                "segmentation": mask,
            }
            for number, category, crowd, mask in ((1, 8, 0, [TRIANGLE]), (2, 3, 1, RUNS))
        ],
    }


def write(root: Path, split: str, change: Change | None = None) -> None:
    data = content(split)
    if change:
        change(data)
    (root / f"annotations/instances_{split}.json").write_text(json.dumps(data))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "annotations").mkdir()
    for split, brightness in ((TRAIN, 0), (VAL, 100)):
        (tmp_path / split).mkdir()
        write(tmp_path, split)
        for i, image in enumerate(content(split)["images"]):
            Image.new("RGB", SIZE, (brightness, i, 0)).save(tmp_path / split / image["file_name"])
    return tmp_path


def data_config(root: Path, *, masks: bool = False) -> Config:
    """The data sets alone, as ``check_data.py coco`` has them."""
    cfg = load_data_config("coco", data_root=root)
    cfg.val_images = 2
    for name in DATALOADERS:
        cfg[name].dataset.metainfo.classes = NAMES
    if masks:
        cfg.train_dataloader.dataset.pipeline = [ConfigDict(type="LoadAnnotations", with_mask=True)]
        cfg.val_evaluator = ConfigDict(iou_types=("bbox", "segm"))
    return cfg


def detector_config(root: Path, name: str) -> Config:
    cfg = small_config(name, "val_images=2", data_root=root)
    for loader in DATALOADERS:
        cfg[loader].dataset.metainfo.classes = NAMES
    heads = cfg.model.roi_head if "roi_head" in cfg.model else cfg.model
    for head in ("bbox_head", "mask_head"):
        if head in heads:
            heads[head].num_classes = len(NAMES)
    return cfg


def faults(cfg: Config, depth: Depth = Depth.FULL) -> dict[tuple[str, str], Row]:
    return {(row.split, row.check): row for row in Preflight(cfg, depth=depth).rows() if row.status != "ok"}


def annotation(key: str, value: Any, index: int = 0) -> Change:
    return lambda data: data["annotations"][index].update({key: value})


def repeat(section: str, **changes: Any) -> Change:
    return lambda data: data[section].append({**data[section][0], **changes})


def test_nothing_is_wrong_with_good_data(root):
    rows = list(Preflight(data_config(root, masks=True), depth=Depth.DECODE).rows())
    assert {row.status for row in rows} == {"ok"}
    used = {row.split: row for row in rows if row.check == "images to use"}
    assert used[TRAIN].examples == used[VAL].examples == ("2 images (1 without an object), 2 classes, 2 objects",)
    assert len({(row.split, row.check) for row in rows}) == len(rows) > 40


# Each: a change to the file, the row that it leads to, its status for training and for evaluation, and an example.
FAULTS = [
    (lambda data: data["categories"].reverse(), "classes that are not the config's", "error", "error", "another order"),
    (repeat("images", file_name="other.png"), "image ids that occur again", "error", "error", "other.png"),
    (repeat("images", id=99), "files listed again", "warning", "warning", "99 1"),
    (repeat("categories", name="cow"), "category ids that occur again", "error", "error", "3 cow"),
    (repeat("categories", id=9), "class names that occur again", "error", "error", "9 cat"),
    (repeat("annotations"), "annotation ids that occur again", "error", "error", "annotation 1 of image"),
    (annotation("id", 0), "annotations numbered 0", "ok", "warning", "annotation 0 of image"),
    (annotation("image_id", 77), "annotations without their image", "error", "error", "annotation 1 of image 77"),
    (annotation("category_id", 77), "annotations without their category", "error", "error", "annotation 1 of"),
    (annotation("bbox", [2, 3, 0, 5]), EMPTY, "warning", "warning", "bbox [2, 3, 0, 5]"),
    (annotation("bbox", [2, 3, -4, -5]), EMPTY, "warning", "warning", "[2, 3, -4, -5]"),
    (annotation("bbox", [2, 3, 0.9, 5]), EMPTY, "warning", "warning", "annotation 1"),
    (annotation("bbox", [48, 3, 9, 5]), EMPTY, "warning", "warning", "annotation 1"),
    (annotation("area", 0), EMPTY, "warning", "warning", "annotation 1"),
    (annotation("bbox", [40, 3, 9.5, 5]), PARTLY, "warning", "warning", "annotation 1"),
    (annotation("bbox", [-1.5, 3, 9.5, 5]), PARTLY, "warning", "warning", "annotation 1"),
    (annotation("bbox", [2, math.nan, 4, 5]), NOT_FINITE, "warning", "error", "nan"),
    (annotation("bbox", [2, 3, math.inf, 5]), NOT_FINITE, "warning", "error", "inf"),
    (annotation("bbox", [2, 3, 1e7, 5]), NOT_FINITE, "warning", "error", "10000000.0"),
    (annotation("area", math.nan), NOT_FINITE, "warning", "error", "annotation 1"),
]


@pytest.mark.parametrize(
    ("change", "check", "training", "evaluation", "example"), FAULTS, ids=lambda v: getattr(v, "__name__", None)
)
def test_a_fault_is_a_row(root, change, check, training, evaluation, example):
    for split, status in ((TRAIN, training), (VAL, evaluation)):
        for other in (TRAIN, VAL):
            write(root, other, change if other == split else None)
        rows = {(row.split, row.check): row for row in Preflight(data_config(root)).rows()}
        row = rows[split, check]
        assert (row.status, example in "; ".join(row.examples)) == (status, True), row
        assert row.count >= 1 and (status == "ok" or str(root) in row.message)


@pytest.mark.parametrize(
    ("mask", "check"),
    [
        (None, MISSING_MASK),
        ([], MISSING_MASK),
        ([TRIANGLE[:5]], NO_MASK),
        ([TRIANGLE[:4]], NO_MASK),
        ([TRIANGLE, []], NO_MASK),
        ([[*TRIANGLE[:5], math.nan]], NO_MASK),
        ([[*TRIANGLE[:5], "3"]], NO_MASK),
        (["polygon"], NO_MASK),
        ({"size": [40, 48]}, NO_MASK),
        ({"size": [40, 48], "counts": [100]}, NO_MASK),
        ({"size": [40, 48], "counts": [-5, 48 * 40 + 5]}, NO_MASK),
        ({"size": [40, 48], "counts": ""}, NO_MASK),
        ({"size": [40, 48], "counts": "o" * 10_000}, NO_MASK),
        ({"size": [48, 40], "counts": [48 * 40]}, "masks of another size than their image"),
        ([[*TRIANGLE[:5], 1e9]], "masks that reach far out of their image"),
    ],
    ids=str,
)
def test_a_faulty_mask_stops_mask_rcnn_alone(root, mask, check):
    for split in (TRAIN, VAL):
        write(root, split, annotation("segmentation", mask))
    for masks, status in ((True, "error"), (False, "warning")):
        found = faults(data_config(root, masks=masks))
        assert {key: row.status for key, row in found.items()} == {(TRAIN, check): status, (VAL, check): status}
    check_data(data_config(root))
    with pytest.raises(UserError, match=rf"instances_train2017\.json: 1 {check}.*SSDLite config.* need no masks"):
        check_data(data_config(root, masks=True))


def test_a_file_without_masks_given_to_mask_rcnn(root):
    for split in (TRAIN, VAL):
        write(root, split, lambda data: [entry.pop("segmentation") for entry in data["annotations"]])
    with pytest.raises(UserError, match=f"instances_train2017.json: 2 {MISSING_MASK}"):
        check_data(detector_config(root, "mask_rcnn_rexnet_x1.0"))
    check_data(detector_config(root, "faster_rcnn_rexnet_x1.0"))


def test_polygons_may_pass_the_edge_by_a_pixel(root):
    write(root, TRAIN, annotation("segmentation", [[-1, 3, 49, 3, 11, 41]]))
    assert not faults(data_config(root, masks=True))
    write(root, TRAIN, annotation("segmentation", [TRIANGLE, [-1.5, 3, 49, 3, 11, 41]]))
    (key,) = (found := faults(data_config(root, masks=True)))
    assert key == (TRAIN, "masks partly outside their image") and found[key].status == "warning"


def test_compressed_run_lengths_are_decoded_as_pycocotools_does():
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(1, 50, 2)
        mask = np.asfortranarray(rng.random((height, width)) < rng.random(), np.uint8)
        flat = mask.ravel(order="F")
        edges = np.flatnonzero(np.diff(flat)) + 1
        runs = np.diff([0, *edges, flat.size]).tolist()
        assert decode_counts(mask_codec.encode(mask)["counts"].decode()) == ([0] if flat[0] else []) + runs


# Hostile files.

NASTY = [None, True, -1, 0, 2**70, 10**400, 1.5, 1e300, math.nan, -math.inf, "", "x", "\x1b[2J\n", "\x00", [], [[]], {}]
PLACES = [(section, key) for section in content(TRAIN) for key in (None, *content(TRAIN)[section][0])]


@pytest.mark.parametrize(("section", "key"), PLACES, ids=lambda v: getattr(v, "__name__", None))
def test_a_value_of_any_type_anywhere_ends_in_one_plain_message_or_works(root, section, key):
    configs = [data_config(root, masks=masks) for masks in (False, True)]
    for value in NASTY:

        def change(data, value=value):
            if key is None:
                data[section][0] = value
            else:
                data[section][0][key] = value

        for split in (TRAIN, VAL):
            write(root, split, change)
        for cfg in configs:
            rows = list(Preflight(cfg).rows())
            printed = "".join(text for row in rows for text in (*row.examples, row.message))
            assert printed.isprintable() and all(len(row.message) < 1000 for row in rows)
            try:
                check_data(cfg)
            except UserError:
                continue
            dataset = build_dataset(cfg.train_dataloader.dataset, pipeline=[], serialize_data=False)
            boxes = [instance["bbox"] for i in range(len(dataset)) for instance in dataset[i]["instances"]]
            assert len(dataset) >= 1 and np.isfinite(np.float32(boxes)).all()


def test_a_number_of_hundreds_of_digits_is_none(root):
    write(root, TRAIN, lambda data: data["annotations"][0].update(bbox=[math.nan, 10**400, 1, 1], area=10**400))
    with pytest.raises(UserError, match=r"annotations\[0\] has bbox \[nan, 1000000.*expected a list of 4 numbers"):
        check_data(data_config(root))
    write(root, TRAIN, lambda data: data["annotations"][0].update(area=math.nan, segmentation=[[10**400] * 6]))
    assert faults(data_config(root, masks=True)).keys() == {(TRAIN, NOT_FINITE), (TRAIN, NO_MASK)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"images": [', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[NaN" + b"[" * 100_000, "not valid JSON"),
        (b"3", "no list 'images', 'categories', 'annotations'"),
        (b'{"images": {}, "annotations": [], "categories": []}', "no list 'images'"),
        (b'{"images": [], "annotations": [], "categories": []}', "0 images|0 categories"),
    ],
)
def test_a_file_that_is_none(root, text, message):
    (root / "annotations/instances_train2017.json").write_bytes(text)
    with pytest.raises(UserError, match=message):
        check_data(data_config(root))
    assert all(split != TRAIN or row.status == "error" for (split, _), row in faults(data_config(root)).items())


# What training and evaluation make of it.


def random_boxes(seed: int, count: int) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform((-30, -30, -10, -10), (60, 50, 40, 40), (count, 4)).round(1)
    boxes[::7, 2] = 0
    boxes[::11, 3] = 0.5
    return boxes.tolist()


def with_random_boxes(data: dict[str, Any]) -> None:
    """300 boxes, many without content, the second image's all so."""
    for i, box in enumerate(random_boxes(0, 300)):
        entry = {**data["annotations"][i % 2], "id": i + 1, "bbox": box, "area": -1 if i % 13 == 0 else 100}
        if i % 50 == 0:
            entry = {**entry, "image_id": data["images"][1]["id"], "bbox": [90, 90, 5, 5]}
        data["annotations"].append(entry)
    del data["annotations"][:2]


def test_boxes_without_content_are_left_out_as_mmdetection_does_and_counted(root):
    write(root, TRAIN, with_random_boxes)
    cfg = data_config(root)
    filter_cfg = {"filter_empty_gt": True, "min_size": 32}
    ours, stock = (
        build_dataset(cfg.train_dataloader.dataset, type=kind, pipeline=[], filter_cfg=filter_cfg)
        for kind in ("CocoDetection", "CocoDataset")
    )
    assert len(ours) == len(stock) == 2
    kept = 0
    for i in range(2):
        mine, theirs = ours[i], stock[i]
        masks = [instance.pop("mask") for instance in theirs["instances"]]
        assert mine == theirs and len(masks) == len(mine["instances"])
        kept += len(masks)
    assert not ours[1]["instances"]
    (line,) = (warning for warning in check_data(cfg).warnings if EMPTY in warning)
    assert f"{300 - kept} {EMPTY}" in line and "left out of training" in line and 0 < kept < 300


def test_boxes_that_are_not_finite_are_left_out(root):
    boxes = [[math.nan, 3, 5, 5], [2, 3, math.inf, 5], [2, 3, 1e30, 5], [2, 3, 5, 5]]

    def change(data):
        data["annotations"] = [{**data["annotations"][0], "id": i + 1, "bbox": box} for i, box in enumerate(boxes)]

    write(root, TRAIN, change)
    dataset = build_dataset(data_config(root).train_dataloader.dataset, pipeline=[])
    assert [instance["bbox"] for instance in dataset[0]["instances"]] == [[2, 3, 7, 8]]
    assert faults(data_config(root))[TRAIN, NOT_FINITE].count == 3


def test_evaluation_treats_boxes_without_content_as_pycocotools_does(root):
    write(root, VAL, with_random_boxes)
    annotations = root / f"annotations/instances_{VAL}.json"
    truth = read_annotations(annotations)["annotations"]
    rng = np.random.default_rng(1)
    detections = [
        {key: entry[key] for key in ("image_id", "category_id", "bbox")} | {"score": rng.random()}
        for entry in truth[::2]
        if min(entry["bbox"][2:]) > 0
    ]
    figures, _ = coco_ap(annotations, detections)
    stats, _ = pycocotools_ap(annotations, detections, "bbox")
    assert figures["AP"] > 0
    for name, place in STATS.items():
        assert figures[name] == (None if stats[place] < 0 else pytest.approx(100 * stats[place], abs=1e-6))


def collate(model: torch.nn.Module, samples: list[dict]) -> dict[str, Any]:
    return model.data_preprocessor({key: [sample[key] for sample in samples] for key in samples[0]}, model.training)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssdlite_rexnet_x1.0", "faster_rcnn_rexnet_x1.0", "mask_rcnn_rexnet_x1.0"])
def test_an_image_without_an_object_trains_and_is_evaluated(root, name):
    def change(data):
        data["annotations"] = [{**data["annotations"][0], "image_id": 2, "bbox": [90, 90, 5, 5]}]

    write(root, TRAIN, change)
    cfg = detector_config(root, name)
    for loader in DATALOADERS:
        for step in cfg[loader].dataset.pipeline:
            if step.type == "Resize":
                step.scale = (160, 160)
    check_data(cfg)
    training, evaluated = (build_dataset(cfg[loader].dataset) for loader in DATALOADERS)
    assert [len(training), len(evaluated)] == [1, 2]  # without annotations at all it is left out, as MMDetection does
    samples, model = [training[0], training[0]], build_detector(cfg).train()
    assert [len(sample["data_samples"].gt_instances) for sample in samples] == [0, 0]
    loss, _ = model.parse_losses(model.forward(**collate(model, samples), mode="loss"))
    assert loss.isfinite()
    loss.backward()
    with torch.no_grad():
        (found,) = model.eval().forward(**collate(model, [evaluated[1]]), mode="predict")
    assert found.img_id == content(VAL)["images"][1]["id"]


def test_a_picture_of_another_size_is_skipped_in_training_and_evaluation(root):
    cfg = detector_config(root, "ssdlite_rexnet_x1.0")
    for split, change in ((TRAIN, 0), (VAL, 10)):
        Image.new("RGB", SIZE[::-1]).save(root / split / f"{1 + change}.png")
        with pytest.raises(UserError, match=f"{split}: 1 {OTHER_SIZE}.*40x48, annotated 48x40"):
            check_data(cfg, [f"{split.removesuffix('2017')}_dataloader"])
    assert build_dataset(cfg.train_dataloader.dataset).prepare_data(0) is None
    stand_in = build_dataset(cfg.val_dataloader.dataset)[0]["data_samples"]
    assert (stand_in.unreadable, stand_in.img_id) == ("11.png", content(VAL)["images"][0]["id"])


# Memory.


def private_growth(function: Callable[[], None]) -> int:
    """Bytes of memory of its own that a forked process gains by calling a function."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = private_memory()
        function()
        os.write(writing, str(private_memory() - before).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(reading, 100))


def read_all(dataset) -> None:
    for i in range(len(dataset)):
        dataset.get_data_info(i)


def private_memory() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Private_Dirty")))


@pytest.mark.slow
def test_data_loading_processes_share_the_annotations(root):
    """Reading all samples in a forked process copies next to nothing; of a list of objects it would copy all."""
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("the kernel does not say what memory a process has of its own")
    points = np.random.default_rng(0).uniform(0, 40, (1000, 1000)).tolist()

    def change(data):
        data["images"] = [{**data["images"][0], "id": i} for i in range(len(points))]
        entry = data["annotations"][0]
        data["annotations"] = [{**entry, "id": i, "image_id": i, "segmentation": [p]} for i, p in enumerate(points)]

    write(root, TRAIN, change)
    cfg = data_config(root, masks=True).train_dataloader.dataset
    growth = {}
    for serialized in (True, False):
        dataset = build_dataset(cfg, serialize_data=serialized)
        assert len(dataset) == len(points) and bool(dataset.data_list) != serialized
        growth[serialized] = private_growth(partial(read_all, dataset))
    assert build_dataset(cfg).serialize_data  # the configs leave it so
    assert growth[True] < 9 * len(points) ** 2 / 2 < growth[False]  # 9 bytes a pickled number


def test_fine_grained_annotations_are_shared_too(tmp_path):
    MAKERS["imagefolder"](tmp_path)
    cfg = load_config(CONFIGS / "finetune.py", dataset="imagefolder", backbone="resnet50", data_root=tmp_path)
    dataset = build_dataset(cfg.train_dataloader.dataset, pipeline=[])
    assert not dataset.data_list and dataset.data_bytes.dtype == np.uint8 and len(dataset) > 0


@pytest.mark.parametrize("used", [True, False])
def test_masks_that_no_step_uses_are_not_kept(root, used):
    dataset = build_dataset(
        data_config(root).train_dataloader.dataset, pipeline=[{"type": "LoadAnnotations", "with_mask": used}]
    )
    assert ["mask" in instance for instance in dataset.get_data_info(0)["instances"]] == [used, used]


# Image files.


def add_tag(path: Path, tag: int, *, turned: bool = False) -> None:
    """Give a picture an orientation tag; ``turned`` ones are stored on their side."""
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = tag
        stored = image.transpose(Image.Transpose.ROTATE_90) if turned else image.copy()
    stored.save(path, exif=exif)


def truncate(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def claim_a_huge_size(path: Path) -> None:
    """A PNG whose header says 100 000 x 100 000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)


PICTURES = [
    (Path.unlink, Depth.FULL, "image files that are missing", "error", "error"),
    (lambda path: path.write_bytes(b""), Depth.FULL, "image files of zero bytes", "warning", "warning"),
    (lambda path: path.write_bytes(b"no picture"), Depth.FULL, "image files that cannot be read", "warning", "warning"),
    (claim_a_huge_size, Depth.FULL, "image files that cannot be read", "warning", "warning"),
    (lambda path: (path.unlink(), path.mkdir()), Depth.FULL, "image files that are missing", "error", "error"),
    (truncate, Depth.FULL, None, None, None),
    (truncate, Depth.DECODE, "image files that cannot be read", "warning", "warning"),
    (lambda path: Image.new("RGB", (48, 41)).save(path), Depth.FULL, OTHER_SIZE, "error", "error"),
    (partial(add_tag, tag=6, turned=True), Depth.FULL, TAGGED, "warning", "warning"),
    (partial(add_tag, tag=3), Depth.QUICK, TAGGED, "warning", "warning"),
    (partial(add_tag, tag=1), Depth.FULL, None, None, None),
]


@pytest.mark.parametrize(
    ("change", "depth", "check", "training", "evaluation"), PICTURES, ids=lambda v: getattr(v, "__name__", None)
)
def test_a_faulty_picture_is_a_row(root, change, depth, check, training, evaluation):
    for split, picture in ((TRAIN, "1.png"), (VAL, "11.png")):
        change(root / split / picture)
    found = faults(data_config(root), depth)
    expected = {(TRAIN, check): training, (VAL, check): evaluation} if check else {}
    assert {key: row.status for key, row in found.items()} == expected
    assert all(row.count == 1 and "1.png" in row.examples[0] for row in found.values())


def test_pictures_that_are_evaluated_are_decoded_before_a_training(root):
    truncate(root / VAL / "11.png")
    path = root / "annotations" / f"instances_{VAL}.json"
    cfg = detector_config(root, "ssdlite_rexnet_x1.0")
    (warning,) = check_data(cfg).warnings
    assert warning.startswith(f"{root / VAL}: 1 image files that cannot be read; first: 11.png")
    assert f"Of {len(json.loads(path.read_text())['images'])} pictures" in warning
    assert check_data(cfg, ["val_dataloader"]).warnings == []  # an evaluation decodes them all itself


def test_decoding_before_a_training_takes_limited_time_and_a_sample(root, monkeypatch):
    names = [f"copy{i}.png" for i in range(40)]
    for name in names:
        (root / VAL / name).write_bytes(b"")
    pictures = Pictures(root / VAL, names)
    tried: list[int] = []
    for _ in range(2):
        monkeypatch.setattr("benchmark.preflight.files.time.monotonic", itertools.count().__next__)  # 1 s a look
        row = check_decoding(pictures, VAL, seconds=10)
        assert row.status == "warning" and f"Of {row.count} pictures" in row.message
        tried.append(row.count)
    assert 1 < tried[0] <= 12


def test_no_readable_picture_at_all_is_an_error(root):
    for picture in (root / VAL).glob("*.png"):
        picture.write_bytes(b"")
    rows = [row for row in Preflight(data_config(root)).rows() if row.status == "error"]
    assert [row.split for row in rows] == [VAL] and "all" in rows[0].message
    with pytest.raises(UserError, match=r"all \d+ image files cannot be read"):
        check_data(data_config(root))


def test_every_tagged_picture_is_named_with_how_it_is_used(root):
    images = [{"id": i + 1, "file_name": f"{i}.png", "width": 48, "height": 40} for i in range(6)]
    write(root, VAL, lambda data: data.update(images=images, annotations=[]))
    for image in images:
        Image.new("RGB", SIZE).save(root / VAL / image["file_name"])
    for i, (tag, turned) in enumerate([(2, False), (3, False), (4, False), (6, False), (6, True), (1, False)]):
        add_tag(root / VAL / f"{i}.png", tag, turned=turned)
    row = faults(data_config(root))[VAL, TAGGED]
    assert (row.status, row.count) == ("warning", 5)
    assert [example.split(" (")[0] for example in row.examples] == [f"{i}.png" for i in range(5)]
    assert [f"{tag}; used" in example for tag, example in zip((2, 3, 4, 6, 6), row.examples, strict=True)] == [True] * 5
    assert all("upright, though its size cannot tell" in example for example in row.examples[:3])
    assert "as stored, as its annotated size says" in row.examples[3] and "used upright, as" in row.examples[4]
    assert row.message.count(".png") == table_row(row)["first examples"].count(".png") == 3


def test_a_tag_in_class_folders_is_named(tmp_path):
    MAKERS["imagefolder"](tmp_path)
    path = next((tmp_path / "test").rglob("*.jpg"))
    add_tag(path, 3)
    cfg = load_config(CONFIGS / "finetune.py", dataset="imagefolder", backbone="resnet50", data_root=tmp_path)
    row = faults(cfg)["test", TAGGED]
    assert row.count == 1 and "3; used as stored" in row.examples[0]


def test_many_pictures_are_decoded_by_several_processes(root):
    names = [f"{i}.png" for i in range(600)]
    for name in names:
        shutil.copy(root / TRAIN / "1.png", root / TRAIN / f"copy{name}")
    (root / TRAIN / "copy599.png").write_bytes(b"")
    images = [{"id": i + 1, "file_name": f"copy{i}.png", "width": 48, "height": 40} for i in range(600)]
    write(root, TRAIN, lambda data: data.update(images=images))
    row = faults(data_config(root), Depth.DECODE)[TRAIN, "image files of zero bytes"]
    assert (row.count, row.examples) == (1, ("copy599.png",))


@pytest.mark.parametrize(
    ("name", "depth", "found"),
    [
        ("11.png", Depth.QUICK, False),  # another file
        ("11.png", Depth.FULL, True),  # of the same name and content
        ("other.png", Depth.FULL, False),
        ("other.png", Depth.DECODE, True),
    ],
)
def test_pictures_that_are_also_trained_on(root, name, depth, found):
    shutil.copy(root / VAL / "11.png", root / TRAIN / name)
    write(root, TRAIN, lambda data: data["images"][1].update(file_name=name))
    row = faults(data_config(root), depth).get((VAL, "pictures that are also trained on"))
    assert (row is not None) == found
    assert row is None or (row.status, row.count, row.examples) == ("warning", 1, ("11.png",))


def test_the_same_file_in_both_splits_is_seen_at_once(root):
    cfg = data_config(root)
    cfg.val_dataloader.dataset.ann_file = cfg.train_dataloader.dataset.ann_file
    cfg.val_dataloader.dataset.data_prefix.img = f"{VAL}/../{TRAIN}"
    assert faults(cfg, Depth.QUICK)[TRAIN, "pictures that are also trained on"].count == 2


def test_equal_names_with_other_content_are_no_overlap(root):
    shutil.copy(root / TRAIN / "1.png", root / TRAIN / "11.png")
    write(root, TRAIN, lambda data: data["images"][1].update(file_name="11.png"))
    assert not faults(data_config(root))


# Numbers of images and classes.


def test_images_that_the_filter_leaves_out(root):
    cfg = data_config(root)
    cfg.train_dataloader.dataset.filter_cfg = ConfigDict(filter_empty_gt=True, min_size=41)
    with pytest.raises(UserError, match=r"instances_train2017\.json: no image can be used, of 2 images \(1 without"):
        check_data(cfg)
    cfg.train_dataloader.dataset.filter_cfg.min_size = 40
    assert (
        check_data(cfg).splits["train_dataloader"].images == 2
        and len(build_dataset(cfg.train_dataloader.dataset, pipeline=[])) == 1
    )


def test_a_part_of_the_whole_split_is_said(root):
    cfg = data_config(root)
    cfg.val_images = 5000
    row = faults(cfg)[VAL, "images of the whole split"]
    assert row.status == "warning" and "2 images of 5000; results are marked as partial" in row.message


def test_a_model_of_another_number_of_classes(root):
    cfg = detector_config(root, "mask_rcnn_rexnet_x1.0")
    cfg.model.roi_head.mask_head.num_classes = 80
    with pytest.raises(UserError, match=r"has 80 classes, but coco2017 has 2: set model\.roi_head\.mask_head\.num_cl"):
        check_data(cfg)


def test_warnings_are_returned_and_nothing_printed(root, capfd):
    assert not check_data(data_config(root)).warnings
    for split in (TRAIN, VAL):
        write(root, split, annotation("bbox", [2, 3, 0, 5]))
    found = check_data(data_config(root))
    assert [split.name for split in found.splits.values()] == [TRAIN, VAL]
    assert len(found.warnings) == 2 and not any("\n" in warning for warning in found.warnings)
    assert capfd.readouterr() == ("", "")


def test_an_unknown_type_of_data_set_is_named(root):
    cfg = data_config(root)
    cfg.train_dataloader.dataset.type = "VOCDataset"
    with pytest.raises(UserError, match="'VOCDataset' are unknown; known: CocoDetection, FineGrainedDataset"):
        check_data(cfg)


# The run.


@pytest.mark.parametrize(
    ("options", "environment", "status", "text"),
    [
        ((), {}, "ok", "0.01 for batch 32 (32 images x world size 1), scaled from batch 256"),
        ((), {"WORLD_SIZE": "8"}, "ok", "0.08 for batch 256 (32 images x world size 8), scaled from batch 256"),
        (("auto_scale_lr.enable=False",), {"SLURM_NTASKS": "8"}, "ok", "0.08 for batch 256"),
        (("auto_scale_lr.enable=False",), {"WORLD_SIZE": "2"}, "warning", "0.08 for batch 64 .* meant for batch 256"),
    ],
)
def test_the_learning_rate_of_the_global_batch(options, environment, status, text):
    row = check_learning_rate(load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", options=options), environment)
    assert row.status == status and re.search(text if ".*" in text else re.escape(text), row.examples[0])
    assert bool(row.message) == (status == "warning")


def weights_config(path: Path) -> Config:
    return load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", pretrained=str(path))


def test_weights_are_held_against_the_hash_in_their_name(tmp_path):
    whole = tmp_path / "weights.pth"
    torch.save({"w": torch.zeros(3)}, whole)
    digest = hashlib.sha256(whole.read_bytes()).hexdigest()
    for name, status in (
        ("weights.pth", "ok"),
        (f"weights-{digest[:8]}.pth", "ok"),
        ("weights-0123abcd.pth", "error"),
        ("weights-20240131.pth", "ok"),  # a date
        ("weights-57934424.pth", "error"),  # none, so a hash
    ):
        (tmp_path / name).write_bytes(whole.read_bytes())
        (row,) = check_weights(weights_config(tmp_path / name), read=True)
        assert row.status == status and digest in row.message + "".join(row.examples)


def test_weights_that_are_missing_or_unsafe(tmp_path):
    (row,) = check_weights(weights_config(tmp_path / "none.pth"), read=False)
    assert row.status == "error" and "Weights not found" in row.message
    (tmp_path / "unsafe.pth").write_bytes(pickle.dumps(Path))
    assert [row.status for row in check_weights(weights_config(tmp_path / "unsafe.pth"), read=True)] == ["error"]
    for source in ("imagenet", "none"):
        assert not list(check_weights(weights_config(source), read=True))


def test_room_for_the_checkpoints(tmp_path, monkeypatch):
    cfg = load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", options=["default_hooks.checkpoint.keep=2"])
    cfg.work_dir = str(tmp_path / "not/yet/there")
    needed = 4 * 1_000_000 * (3 * 2 + 1)  # weights and momentum, three times, and the best weights
    for free, status in ((needed, "ok"), (needed - 1, "error")):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: shutil._ntuple_diskusage(0, 0, free))
        row = check_disk(cfg, 1_000_000)
        assert row.status == status and f"0.03 GB needed, 0.03 GB free at {tmp_path}" in row.examples[0]


def test_a_run_refuses_weights_of_another_hash(root, tmp_path):
    cfg = detector_config(root, "ssdlite_rexnet_x1.0")
    cfg.model.backbone.pretrained = str(tmp_path / "weights-0123abcd.pth")
    (tmp_path / "weights-0123abcd.pth").write_bytes(b"cut off")
    with pytest.raises(UserError, match="begins with 0123abcd, but it has"):
        check_data(cfg)
    check_data(cfg, ["val_dataloader"])  # an evaluation loads a checkpoint
