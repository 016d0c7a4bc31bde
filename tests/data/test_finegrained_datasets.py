"""The official layouts: read by torchvision's classes, checked on opening."""

import json
from pathlib import Path

import numpy as np
import pytest
from finegrained_layouts import FLOWERS, MAKERS, TEST, TRAIN, USED, picture
from scipy.io import loadmat, savemat

from backbones.errors import UserError
from benchmark.config.load import config_name, load_config, load_data_config
from benchmark.config.names import CONFIGS
from benchmark.data.finegrained import read_split, stratified
from benchmark.data.layouts import LAYOUTS, check_layout
from benchmark.preflight import check_data

OFFICIAL = [name for name in MAKERS if name != "imagefolder"]


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, Path]:
    MAKERS[request.param](tmp_path)
    return request.param, tmp_path


every = pytest.mark.parametrize("made", MAKERS, indirect=True)
official = pytest.mark.parametrize("made", OFFICIAL, indirect=True)


@every
def test_splits_hold_what_the_files_say(made):
    name, root = made
    own = name in ("aircraft", "flowers102")
    counts = {"test": TEST, "trainval": TRAIN + TEST if own else TRAIN, "train": TRAIN if own else 3}
    for split, count in counts.items():
        found = read_split(name, root, split, allow_partial=True)
        labels = [label for _, label in found.samples]
        assert sorted(labels) == sorted(list(range(USED)) * count)
        assert all(Path(path).is_file() for path, _ in found.samples)
        assert found.partial == (name != "imagefolder")
    train, val, whole = (
        {path for path, _ in read_split(name, root, split, allow_partial=True).samples}
        for split in ("train", "val", "trainval")
    )
    assert train | val == whole and not train & val


def test_labels_belong_to_the_named_classes(tmp_path):
    MAKERS["flowers102"](tmp_path)
    found = read_split("flowers102", tmp_path, "test", allow_partial=True)
    assert found.classes == tuple(FLOWERS) and found.samples[0][1] == 0
    MAKERS["cars"](tmp_path)
    found = read_split("cars", tmp_path, "test", allow_partial=True)
    assert found.classes[2] == "car 2" and found.samples[-1] == (
        str(tmp_path / "stanford_cars/cars_test/00006.jpg"),
        2,
    )


@official
def test_a_wrong_size_names_both_numbers(made):
    name, root = made
    expected = LAYOUTS[name].images["test"]
    with pytest.raises(UserError, match=rf"expected {expected} images, found {USED * TEST}\..*--allow-partial"):
        read_split(name, root, "test")


def test_official_sizes():
    assert {name: dict(LAYOUTS[name].images) for name in MAKERS} == {
        "food101": {"trainval": 75750, "test": 25250},
        "cars": {"trainval": 8144, "test": 8041},
        "aircraft": {"trainval": 6667, "train": 3334, "val": 3333, "test": 3333},
        "flowers102": {"trainval": 2040, "train": 1020, "val": 1020, "test": 6149},
        "imagefolder": {},
    }


@every
def test_every_missing_file_is_named(made):
    name, root = made
    layout = LAYOUTS[name]
    for file in layout.files:
        place = root / layout.folder / file
        place.rename(place.with_name("away"))
        with pytest.raises(UserError) as caught:
            check_layout(name, root)
        assert str(place.absolute()) in str(caught.value) and layout.obtain in str(caught.value)
        place.with_name("away").rename(place)
    check_layout(name, root)


def test_the_data_sets_own_folder_as_root_is_guessed(tmp_path):
    MAKERS["cars"](tmp_path)
    with pytest.raises(UserError, match=f"Did you mean --data-root {tmp_path}"):
        check_layout("cars", tmp_path / "stanford_cars")


def test_missing_pictures_are_counted(tmp_path):
    MAKERS["aircraft"](tmp_path)
    (tmp_path / "fgvc-aircraft-2013b/data/images/0000000.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of 18 image files are missing.*0000000\.jpg"):
        check_data(load_data_config("aircraft", data_root=tmp_path, allow_partial=True))


@pytest.mark.parametrize("label", (0, 197))
def test_labels_outside_the_classes(tmp_path, label):
    MAKERS["cars"](tmp_path)
    file = tmp_path / "stanford_cars/cars_test_annos_withlabels.mat"
    rows = loadmat(file)["annotations"][0]
    rows["class"][0] = np.array([[label]], dtype=np.uint8)
    savemat(file, {"annotations": rows})
    with pytest.raises(UserError, match=r"1 labels lie outside 1\.\.196; the first: \d+ of .*00001\.jpg"):
        read_split("cars", tmp_path, "test", allow_partial=True)


def test_fewer_classes_would_shift_labels(tmp_path):
    MAKERS["food101"](tmp_path)
    file = tmp_path / "food-101/meta/test.json"
    content = json.loads(file.read_text())
    del content["dish_000"]
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="has 101 classes, the files of its split test list 100"):
        read_split("food101", tmp_path, "test", allow_partial=True)


@pytest.mark.parametrize(
    ("name", "file"),
    (
        ("food101", "meta/train.json"),
        ("cars", "devkit/cars_train_annos.mat"),
        ("flowers102", "setid.mat"),
        ("aircraft", "data/images_variant_trainval.txt"),
    ),
)
def test_damaged_files_are_reported(tmp_path, name, file):
    MAKERS[name](tmp_path)
    place = tmp_path / LAYOUTS[name].folder / file
    place.write_bytes(b"half a ")
    with pytest.raises(UserError, match=f"{LAYOUTS[name].title}, split .* cannot be read"):
        read_split(name, tmp_path, "trainval", allow_partial=True)


def test_class_folders_must_match_and_hold_pictures(tmp_path):
    MAKERS["imagefolder"](tmp_path)
    (tmp_path / "train/class 9").mkdir()
    with pytest.raises(UserError, match=r"train/ has 4 class folders and test/ 3.*class 9"):
        check_layout("imagefolder", tmp_path)
    (tmp_path / "test/class 9").mkdir()
    with pytest.raises(UserError, match=r"Class folder without pictures: .*train/class 9"):
        check_layout("imagefolder", tmp_path)
    picture(tmp_path / "train/class 9/1.jpg", 0)
    with pytest.raises(UserError, match=r"Class folder without pictures: .*test/class 9"):
        check_layout("imagefolder", tmp_path)


def test_the_stratified_division_is_fixed_and_by_class():
    samples = [(f"{label}/{index}", label) for label in range(5) for index in range(10 * (label + 1))]
    first, again = stratified(samples), stratified(samples[::-1])
    assert first == again
    assert [sum(label == wanted for _, label in first["val"]) for wanted in range(5)] == [2, 4, 6, 8, 10]
    assert sorted(first["train"] + first["val"]) == sorted(samples)


@pytest.mark.parametrize("name", MAKERS)
def test_a_template_takes_every_data_set(name):
    cfg = load_config(CONFIGS / "finetune.py", dataset=name, backbone="rexnet_x1.0")
    layout = LAYOUTS[name]
    assert config_name(cfg) == f"finetune_{name}_rexnet_x1.0"
    assert (cfg.dataset_name, cfg.model.num_classes) == (layout.title, layout.classes)
    assert {cfg[loader].dataset.name for loader in ("train_dataloader", "val_dataloader")} == {name}
    assert (cfg.train_dataloader.dataset.split, cfg.val_dataloader.dataset.split) == ("trainval", "test")


def test_classes_of_folders_are_counted(tmp_path):
    MAKERS["imagefolder"](tmp_path)
    cfg = load_config(CONFIGS / "finetune.py", dataset="imagefolder", backbone="resnet50", data_root=tmp_path)
    assert cfg.model.num_classes == USED
    assert [found.images for found in check_data(cfg).splits.values()] == [USED * TRAIN, USED * TEST]


def test_steps_and_batch_size_shorten_any_config():
    cfg = load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", steps=2000, batch_size=3)
    assert cfg.train_cfg.max_iters == cfg.train_cfg.val_interval == cfg.param_scheduler[1]["end"] == 2000
    assert cfg.param_scheduler[0]["end"] == cfg.param_scheduler[1]["begin"] == 20
    assert cfg.train_dataloader.batch_size == cfg.val_dataloader.batch_size == 3
    assert len(load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", steps=10).param_scheduler) == 1
    with pytest.raises(UserError, match="--steps"):
        load_config(CONFIGS / "ssdlite_rexnet_x1.0.py", steps=0)
