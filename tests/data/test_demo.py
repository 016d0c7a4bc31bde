import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from helpers import call_tool
from PIL import Image
from pycocotools.coco import COCO
from scipy import ndimage

from backbones.errors import UserError
from benchmark.data.demo.pictures import CLASSES, MAX_HIDDEN, make_demo_data

# pycocotools' own arrays against NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SPLITS = ("train2017", "val2017")
SIZES = {"train_images": 40, "val_images": 20, "seed": 0}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return make_demo_data(tmp_path_factory.mktemp("demo") / "set", **SIZES)


@pytest.fixture(scope="module", params=SPLITS)
def coco(request, demo):
    loaded = COCO(demo / "annotations" / f"instances_{request.param}.json")
    loaded.folder = demo / request.param
    return loaded


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def objects(coco: COCO) -> list[dict]:
    return [annotation for annotation in coco.anns.values() if not annotation["iscrowd"]]


def test_same_seed_gives_the_same_files(tmp_path):
    first = make_demo_data(tmp_path / "a", train_images=3, val_images=2, seed=5)
    second = make_demo_data(tmp_path / "b", train_images=3, val_images=2, seed=5)
    assert files(first) == files(second)
    assert len(files(first)) == 3 + 2 + 2 + 1  # pictures, annotations, manifest


def test_other_seed_gives_other_pictures_and_annotations(tmp_path):
    first = files(make_demo_data(tmp_path / "a", train_images=3, val_images=2, seed=5))
    second = files(make_demo_data(tmp_path / "b", train_images=3, val_images=2, seed=6))
    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())


def test_larger_set_begins_with_the_smaller(tmp_path):
    small = files(make_demo_data(tmp_path / "a", train_images=2, val_images=1, seed=5))
    large = files(make_demo_data(tmp_path / "b", train_images=4, val_images=2, seed=5))
    pictures = [name for name in small if name.endswith(".jpg")]
    assert len(pictures) == 3
    assert all(small[name] == large[name] for name in pictures)


def test_no_picture_occurs_twice(demo):
    pictures = [(pixels(path).shape, pixels(path).tobytes()) for path in demo.rglob("*.jpg")]
    assert len(set(pictures)) == len(pictures) == SIZES["train_images"] + SIZES["val_images"]


def test_ids_are_unique_over_both_splits(demo):
    contents = [json.loads((demo / "annotations" / f"instances_{split}.json").read_text()) for split in SPLITS]
    for part in ("images", "annotations"):
        ids = [entry["id"] for content in contents for entry in content[part]]
        assert len(set(ids)) == len(ids)
        assert min(ids) > 0


def test_images_are_as_described(coco):
    assert {entry["file_name"] for entry in coco.imgs.values()} == {path.name for path in coco.folder.iterdir()}
    for entry in coco.imgs.values():
        assert pixels(coco.folder / entry["file_name"]).shape == (entry["height"], entry["width"], 3)
        assert 240 <= min(entry["height"], entry["width"]) <= max(entry["height"], entry["width"]) <= 480
    assert len({(entry["height"], entry["width"]) for entry in coco.imgs.values()}) > len(coco.imgs) / 2


def test_categories_have_ids_with_gaps_and_the_public_names(coco):
    categories = coco.dataset["categories"]
    assert tuple(category["name"] for category in categories) == CLASSES
    ids = [category["id"] for category in categories]
    assert ids == sorted(set(ids))
    assert ids != list(range(ids[0], ids[0] + len(ids)))


def test_every_class_occurs(coco):
    assert {annotation["category_id"] for annotation in objects(coco)} == set(coco.cats)


def test_box_and_area_are_those_of_the_mask(coco):
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert annotation["area"] == mask.sum() > 0
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y, width, height = annotation["bbox"]
        corners = (x, y, x + width, y + height)
        assert corners == pytest.approx((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), abs=2)
        entry = coco.imgs[annotation["image_id"]]
        assert x >= 0 and y >= 0 and x + width <= entry["width"] and y + height <= entry["height"]


def test_objects_are_polygons_and_crowds_are_uncompressed_run_lengths(coco):
    for annotation in objects(coco):
        (polygon,) = annotation["segmentation"]
        assert len(polygon) >= 6 and len(polygon) % 2 == 0
    for annotation in coco.loadAnns(coco.getAnnIds(iscrowd=True)):
        entry = coco.imgs[annotation["image_id"]]
        assert annotation["segmentation"]["size"] == [entry["height"], entry["width"]]
        assert sum(annotation["segmentation"]["counts"]) == entry["height"] * entry["width"]


def test_a_few_crowds_of_many_parts_occur(coco):
    crowds = coco.getAnnIds(iscrowd=True)
    assert 0 < len(crowds) < len(coco.imgs) / 4
    for crowd in coco.loadAnns(crowds):
        _, parts = ndimage.label(coco.annToMask(crowd))
        assert parts > 1


def test_pictures_hold_none_to_many_objects(demo):
    counts = set()
    for split in SPLITS:
        coco = COCO(demo / "annotations" / f"instances_{split}.json")
        counts |= {len(coco.getAnnIds(image_id, iscrowd=False)) for image_id in coco.imgs}
    assert {0, 1, 2, 3, 4, 5, 6} <= counts <= set(range(9))


def test_all_of_cocos_sizes_occur_and_few_are_small(coco):
    areas = np.array([annotation["area"] for annotation in objects(coco)])
    assert 0 < np.mean(areas < 32**2) < 0.2
    assert np.mean(areas >= 96**2) > 0.1


def test_little_of_any_object_is_hidden(coco):
    for image_id in coco.imgs:
        annotations = coco.loadAnns(coco.getAnnIds(image_id))
        masks = [coco.annToMask(annotation).astype(bool) for annotation in annotations]
        for first, second in combinations(range(len(masks)), 2):
            overlap = (masks[first] & masks[second]).sum()
            assert overlap <= MAX_HIDDEN * min(masks[first].sum(), masks[second].sum())
        for index, mask in enumerate(masks[:-1]):
            assert (mask & np.any(masks[index + 1 :], axis=0)).sum() <= MAX_HIDDEN * mask.sum()


def test_outlines_lie_where_the_picture_has_edges(coco):
    aligned, shifted = [], []
    for annotation in objects(coco):
        grey = pixels(coco.folder / coco.imgs[annotation["image_id"]]["file_name"]).mean(axis=2)
        edges = np.hypot(*np.gradient(grey))
        mask = coco.annToMask(annotation).astype(bool)
        outline = mask & ~ndimage.binary_erosion(mask)
        aligned.append(edges[outline].mean())
        shifted += [edges[np.roll(outline, offset, axis=(0, 1))].mean() for offset in ((2, 2), (-2, -2))]
    assert np.mean(aligned) > 1.5 * np.mean(shifted)


def test_the_same_set_is_left_as_it_is(demo):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    assert make_demo_data(demo, **SIZES) == demo
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"train_images": 41}, {"val_images": 19}])
def test_a_set_of_other_arguments_is_refused(demo, change):
    with pytest.raises(UserError, match="Expected demo data with"):
        make_demo_data(demo, **{**SIZES, **change})


def test_a_folder_with_other_content_is_refused_and_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="found something else"):
        make_demo_data(tmp_path, train_images=1, val_images=1)
    assert files(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "data").write_text("mine")
    for root in (tmp_path / "data", tmp_path / "data" / "demo"):
        with pytest.raises(UserError, match="data"):
            make_demo_data(root, train_images=1, val_images=1)


@pytest.mark.parametrize("lost", ["val2017/000001000001.jpg", "annotations/instances_train2017.json"])
def test_a_set_with_a_file_missing_is_refused(tmp_path, lost):
    root = make_demo_data(tmp_path / "set", train_images=1, val_images=1)
    (root / lost).unlink()
    with pytest.raises(UserError, match="Expected 1 pictures"):
        make_demo_data(root, train_images=1, val_images=1)


@pytest.mark.parametrize("wrong", [{"train_images": 0}, {"val_images": 0}, {"seed": -1}])
def test_impossible_arguments_are_refused(tmp_path, wrong):
    with pytest.raises(UserError, match="at least"):
        make_demo_data(tmp_path / "set", **{**SIZES, **wrong})


def test_callers_at_the_same_time_all_get_the_set(tmp_path):
    root = tmp_path / "set"
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(make_demo_data, root, train_images=2, val_images=1) for _ in range(4)]
    assert [call.result() for call in calls] == [root] * 4
    assert len(files(root)) == 2 + 1 + 2 + 1
    assert list(tmp_path.iterdir()) == [root]  # nothing unfinished is left behind


def test_a_failed_attempt_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(UserError, match="No space left"):
        make_demo_data(tmp_path / "set", train_images=1, val_images=1)
    assert list(tmp_path.iterdir()) == []


def test_generating_is_fast(tmp_path):
    start = time.perf_counter()
    make_demo_data(tmp_path / "set", train_images=15, val_images=5)
    assert time.perf_counter() - start < 10  # the default 500 pictures then take minutes at worst, commonly 10 s


def test_tool_says_in_one_line_what_it_made(tmp_path):
    root = tmp_path / "new" / "set"
    done = call_tool("make_demo_data.py", root, "--train-images", 2, "--val-images", 1, "--seed", 5)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1 and str(root) in done.stdout
    assert files(root) == files(make_demo_data(tmp_path / "other", train_images=2, val_images=1, seed=5))


def test_tool_ends_a_mistake_with_one_line(tmp_path):
    done = call_tool("make_demo_data.py", tmp_path, "--train-images", 0)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "--train-images: takes a whole number" in done.stderr
