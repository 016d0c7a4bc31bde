"""A user's own folder: recognised in every layout, converted once, never written to, and told what is wrong with it."""

import json
import random
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from helpers import call_tool
from hostile_world import fingerprint
from make_layouts import CLASSIFICATION, DETECTION, make_layout, read_source
from PIL import Image

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.data.own.convert import prepare
from benchmark.data.subsets import part_size, stratified_order

pytestmark = pytest.mark.usefixtures("data_cache")


@pytest.fixture(scope="module")
def layouts(demo_data, tmp_path_factory) -> Path:
    """The generated data set in every layout."""
    root = tmp_path_factory.mktemp("layouts")
    for name in (*DETECTION, *CLASSIFICATION):
        make_layout(name, demo_data, root / name)
    return root


@pytest.fixture
def own(layouts, tmp_path):
    """Function that copies a layout to change it."""

    def copy(name: str, to: str = "own") -> Path:
        return shutil.copytree(layouts / name, tmp_path / to)

    return copy


def converted(folder: Path, split: str) -> dict[str, list[tuple[str, list[float]]]]:
    """The classes and boxes of each picture, by the picture's name."""
    content = json.loads(prepare(folder).annotations(split).read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    pictures = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
    found: dict[str, list] = {name: [] for name in pictures.values()}
    for entry in content["annotations"]:
        found[pictures[entry["image_id"]]].append((names[entry["category_id"]], entry["bbox"]))
    return found


def rows(folder: Path, *arguments: str) -> list[dict]:
    """What check_data.py finds."""
    outcome = call_tool("check_data.py", folder, "--json", *arguments)
    assert outcome.stdout, outcome.stderr
    return [row for row in json.loads(outcome.stdout) if row["status"] != "ok"]


def write_yolo(root: Path, labels: dict[str, str], names: str = "[cat, dog]") -> Path:
    """A small data set of one picture per label file."""
    for number, (name, text) in enumerate(labels.items()):
        picture = root / f"images/{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), (number, 100, 100)).save(picture)
        label = root / f"labels/{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
    return root


# Every layout.


@pytest.mark.parametrize("name", DETECTION)
def test_every_layout_has_the_boxes_of_its_source(name, layouts, demo_data):
    classes, splits = read_source(demo_data)
    before = fingerprint(layouts / name)
    data = prepare(layouts / name)
    assert fingerprint(layouts / name) == before
    assert (data.kind, set(data.classes), data.validation, data.seed) == ("detector", set(classes), "val", None)
    tolerance = 2.0 if name == "yolo_polygons" else 0.01  # px; boxes are also drawn around rounded polygons
    for split in splits:
        found = converted(layouts / name, split.name)
        assert found.keys() == {image["file_name"] for image in split.images}
        for image in split.images:
            ours = sorted(found[image["file_name"]], key=lambda entry: (entry[0], *map(round, entry[1])))
            theirs = [(entry["name"], entry["bbox"]) for entry in split.objects[image["id"]]]
            theirs.sort(key=lambda entry: (entry[0], *map(round, entry[1])))
            assert [label for label, _ in ours] == [label for label, _ in theirs]
            for (_, box), (_, expected) in zip(ours, theirs, strict=True):
                assert box == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_every_picture_of_a_class_has_its_label(name, layouts):
    data = prepare(layouts / name)
    assert data.kind == "classifier" and data.validation == ("val" if name == "folders" else "drawn")
    for split in ("train", "val"):
        content = json.loads(data.annotations(split).read_text())
        assert len(content["samples"]) == data.images[split] > 0
        if name != "csv_classes":
            for file, label, _ in content["samples"]:
                assert Path(file).parent.name == content["classes"][label]


def test_polygons_are_kept_as_masks(layouts):
    content = json.loads(prepare(layouts / "yolo_polygons").annotations("train").read_text())
    assert all(len(entry["segmentation"][0]) >= 6 for entry in content["annotations"])


def test_the_root_of_a_tree_of_classes_is_no_class(layouts):
    data = prepare(layouts / "coco_export")
    assert "things" not in data.classes
    assert [finding.examples for finding in data.findings if "group" in finding.check] == [["things"]]


def test_equal_data_give_equal_files_wherever_they_lie(own):
    first, second = (prepare(own("yolo", to)) for to in ("a", "b"))
    assert first.cache != second.cache
    for split in ("train", "val"):
        assert file_sha256(first.annotations(split)) == file_sha256(second.annotations(split))


def test_data_are_converted_once_and_again_when_they_change(own):
    folder = own("yolo")
    first = prepare(folder)
    written = first.annotations("train").stat().st_mtime_ns
    assert prepare(folder).annotations("train").stat().st_mtime_ns == written
    picture = next((folder / "images/train").iterdir())
    Image.new("RGB", Image.open(picture).size).save(picture)
    assert file_sha256(prepare(folder).annotations("train")) != file_sha256(first.annotations("train"))


def test_a_folder_that_cannot_be_written_is_read(own):
    folder = own("voc")
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert prepare(folder).images == {"train": 16, "val": 6}
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


def test_names_may_have_spaces_and_any_letters(own):
    folder = own("coco_export", "Bücher & 猫 pictures")
    path = folder / "train/_annotations.coco.json"
    content = json.loads(path.read_text())
    first, second = content["images"][:2]
    for image, on_disk, in_file in (
        (first, "猫 und Käfer.jpg", "猫 und Käfer.jpg"),
        (second, unicodedata.normalize("NFD", "Käfer.jpg"), unicodedata.normalize("NFC", "Käfer.jpg")),
    ):
        (folder / "train" / image["file_name"]).rename(folder / "train" / on_disk)
        image["file_name"] = in_file
    content["categories"][1]["name"] = "Äpfel & 猫"
    path.write_text(json.dumps(content))
    other = folder / "valid/_annotations.coco.json"
    content = json.loads(other.read_text())
    content["categories"][1]["name"] = "Äpfel & 猫"
    other.write_text(json.dumps(content))
    data = prepare(folder)
    assert "Äpfel & 猫" in data.classes and data.images["train"] == 16
    assert not [finding for finding in data.findings if finding.status == "error"]


def test_difficult_objects_of_voc_are_ignored_regions(own):
    folder = own("voc")
    path = next(path for path in sorted((folder / "Annotations").iterdir()) if "<object>" in path.read_text())
    path.write_text(path.read_text().replace("</name>", "</name><difficult>1</difficult>"))
    content = json.loads(prepare(folder).annotations("train").read_text())
    assert any(entry["iscrowd"] == 1 for entry in content["annotations"])


def test_boxes_of_a_table_may_be_shares_of_the_sides(tmp_path):
    root = tmp_path / "own"
    root.mkdir()
    for number in range(4):
        Image.new("RGB", (40, 20), (number, 0, 0)).save(root / f"{number}.png")
    lines = [f"{number}.png,cat,0.25,0.5,0.75,1,{'train' if number < 2 else 'val'}" for number in range(4)]
    (root / "t.csv").write_text("\n".join(["path,label,x1,y1,x2,y2,set", *lines]))
    assert converted(root, "train")["0.png"] == [("cat", [10, 10, 20, 10])]


def test_a_class_may_be_called_as_a_split_is(tmp_path):
    for name in ("train", "boat"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (9, 9), (number, len(name), 0)).save(tmp_path / "own" / name / f"{number}.png")
    assert prepare(tmp_path / "own").classes == ("boat", "train")


# Without a validation split.


def test_a_split_is_drawn_with_every_class_and_recorded(layouts):
    data = prepare(layouts / "folders_flat")
    assert (data.validation, data.seed) == ("drawn", 0)
    counts = {}
    for split in ("train", "val"):
        content = json.loads(data.annotations(split).read_text())
        counts[split] = Counter(label for _, label, _ in content["samples"])
    whole = counts["train"] + counts["val"]
    assert data.images["val"] == pytest.approx(0.2 * sum(whole.values()), abs=len(data.classes))
    for label, count in whole.items():
        assert counts["train"][label] >= 1 and (count == 1 or counts["val"][label] >= 1)


def test_pictures_of_one_content_stay_on_one_side(own):
    folder = own("folders_flat")
    for path in sorted(folder.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    data = prepare(folder)
    sides = [
        {digest for *_, digest in json.loads(data.annotations(s).read_text())["samples"]} for s in ("train", "val")
    ]
    assert not sides[0] & sides[1]
    assert "pictures of one content" in {finding.check for finding in data.findings}


def test_too_few_pictures_to_draw_from_is_an_error(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9), "red" if name == "a" else "blue").save(tmp_path / "own" / name / "x.png")
    with pytest.raises(UserError, match="too few to draw some for evaluation"):
        prepare(tmp_path / "own")


# What is wrong.


def test_two_layouts_in_one_folder_are_named(own):
    folder = own("yolo")
    (folder / "annotations.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(UserError, match=r"more than one layout: COCO \(annotations.json\) and YOLO \(data.yaml\)"):
        prepare(folder)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: (root / "x.txt").write_text("hello"), "no layout is recognised among 1 files, 0 of them"),
        (lambda root: write_yolo(root, {"train/a": "", "val/b": ""}, "[a, a]"), "two classes are called 'a'"),
        (lambda root: write_yolo(root, {"train/a": "", "val/b": ""}, "[a]\nnc: 3"), "nc is 3, and there are 1 names"),
        (lambda root: write_yolo(root, {"train/a": "", "val/b": ""}, "[a]\nkpt_shape: [2, 2]"), "keypoints"),
        (lambda root: write_yolo(root, {"train/a": "", "val/b": ""}, "[a]\n x: ]"), "is no YAML"),
        (lambda root: write_yolo(root, {"train/a": ""}), "val: images/val holds no pictures below this folder"),
        (lambda root: write_yolo(root, {"train/a": ""}) and (root / "data.yaml").unlink(), "need a data.yaml"),
    ],
    ids=["nothing", "same names", "nc", "keypoints", "no YAML", "no val", "no data.yaml"],
)
def test_what_cannot_be_read_is_one_line(make, words, tmp_path):
    root = tmp_path / "own"
    root.mkdir()
    make(root)
    outcome = call_tool("check_data.py", root)
    assert outcome.returncode == 1 and words in outcome.stderr and len(outcome.stderr.splitlines()) <= 2, outcome.stderr


def test_class_lists_that_differ_between_splits_are_an_error(own):
    folder = own("coco_export")
    path = folder / "valid/_annotations.coco.json"
    path.write_text(path.read_text().replace('"star"', '"stars"'))
    with pytest.raises(UserError, match="different classes; only in one of them: star, stars"):
        prepare(folder)
    folder = own("folders", "folders")
    (folder / "val/star").rename(folder / "val/stars")
    with pytest.raises(UserError, match="val/stars has no folder in train/"):
        prepare(folder)


LINES = {
    "0 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.1 0.1": ("data.yaml does not name", "labels/train/bad.txt:2 (2)"),
    "0 0.1 0.1 0.2 0.2 0.3": ("neither a box nor a polygon", "labels/train/bad.txt:1 (5 numbers)"),
    "0 0.1 0.1": ("neither a box nor a polygon", "labels/train/bad.txt:1 (2 numbers)"),
    "0 120 30 10 10": ("no shares of the picture's sides", "labels/train/bad.txt:1"),
    "cat 0.1 0.1 0.2 0.2": ("no numbers", "labels/train/bad.txt:1"),
}


@pytest.mark.parametrize("line", LINES, ids=[words for words, _ in LINES.values()])
def test_a_label_that_cannot_be_is_named_with_its_line(line, tmp_path):
    root = write_yolo(tmp_path / "own", {"train/bad": line, "train/b": "1 0.5 0.5 0.2 0.2", "val/c": "0 .5 .5 .2 .2"})
    words, example = LINES[line]
    (row,) = [row for row in rows(root) if row["status"] == "error"]
    assert words in row["check"] and row["examples"] == [example] and row["split"] == "train"


def test_polygons_with_two_points_are_an_error_where_masks_are_needed(own):
    folder = own("coco")
    path = folder / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = [[1.0, 1.0, 5.0, 5.0]]
    path.write_text(json.dumps(content))
    found = [row for row in rows(folder) if "no polygons from 3 points" in row["check"]]
    assert [(row["status"], row["count"]) for row in found] == [("warning", 1)]
    outcome = call_tool("check_data.py", "configs/mask_rcnn_rexnet_x1.0.py", "--dataset", folder)
    assert outcome.returncode == 1 and "error: " in outcome.stderr and "annotations[0]" in outcome.stderr


def test_all_that_is_odd_is_a_finding(tmp_path):
    labels = {
        "train/a": "0 0.5 0.5 0.2 0.2",
        "train/b": "",
        "train/c": "1 0.99 0.5 0.4 0.2",
        "val/d": "0 0.5 0.5 0.2 0.2",
        "val/stray": "0 0.5 0.5 0.2 0.2",
    }
    root = write_yolo(tmp_path / "own", labels, "[cat, Cat, horse]")
    shutil.copy(root / "images/train/a.png", root / "images/val/same.png")
    (root / "images/val/stray.png").unlink()
    (root / "images/train/empty.png").touch()
    found = {(row["split"], row["check"]): row["examples"] for row in rows(root)}
    expected = {
        ("train", "label files that are empty"): ["labels/train/b.txt"],
        ("val", "pictures without a label file"): ["images/val/same.png"],
        ("all", "label files without a picture"): ["labels/val/stray.txt"],
        ("train", "classes without a box"): ["horse"],
        ("val", "classes without a box"): ["Cat", "horse"],
        ("all", "names of classes that differ in case alone"): ["cat and Cat"],
        ("val", "pictures whose content is also trained on"): ["images/val/same.png (as images/train/a.png)"],
    }
    assert {key: found[key] for key in expected} == expected
    assert "empty.png" in str(found["train", "pictures that cannot be read"])
    assert "labels/train/c.txt:1" in str(found["train", "boxes partly outside their image"])


def test_pictures_that_any_two_splits_share_are_found(tmp_path):
    labels = {"train/a": "0 0.5 0.5 0.2 0.2", "val/b": "0 0.5 0.5 0.2 0.2", "test/c": "0 0.5 0.5 0.2 0.2"}
    root = write_yolo(tmp_path / "own", labels, "[cat]")
    (root / "data.yaml").write_text("names: [cat]\ntrain: images/train\nval: images/val\ntest: images/test\n")
    for source, copy in (("train/a", "test/of_train"), ("val/b", "test/of_val"), ("test/c", "test/of_test")):
        shutil.copy(root / f"images/{source}.png", root / f"images/{copy}.png")
    found = {(row["split"], row["check"]): row["examples"] for row in rows(root)}
    assert found["test", "pictures whose content is also trained on"] == [
        "images/test/of_train.png (as images/train/a.png)"
    ]
    assert found["test", "pictures whose content is also evaluated on"] == [
        "images/test/of_val.png (as images/val/b.png)"
    ]
    assert ("val", "pictures whose content is also trained on") not in found


def test_a_test_split_that_is_evaluated_is_one_with_it(tmp_path):
    labels = {"train/a": "0 0.5 0.5 0.2 0.2", "test/c": "0 0.5 0.5 0.2 0.2"}
    root = write_yolo(tmp_path / "own", labels, "[cat]")
    (root / "data.yaml").write_text("names: [cat]\ntrain: images/train\ntest: images/test\n")
    shutil.copy(root / "images/train/a.png", root / "images/test/same.png")
    found = {(row["split"], row["check"]) for row in rows(root)}
    shared = "pictures whose content is also"
    assert ("val", f"{shared} trained on") in found
    assert not {("test", f"{shared} trained on"), ("test", f"{shared} evaluated on")} & found


def test_pictures_that_are_missing_and_dangling_annotations_are_errors(own):
    folder = own("coco")
    path = folder / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    gone = content["images"][3]["file_name"]
    (folder / "train2017" / gone).unlink()
    content["annotations"][0]["category_id"] = 999
    content["annotations"][1]["image_id"] = 999_999
    path.write_text(json.dumps(content))
    found = {row["check"]: row for row in rows(folder) if row["status"] == "error"}
    assert found["pictures that are missing"]["examples"] == [gone]
    assert found["annotations without their class"]["count"] == found["annotations without their picture"]["count"] == 1


def test_a_damaged_xml_file_is_named(own):
    folder = own("voc")
    path = sorted((folder / "Annotations").iterdir())[0]
    path.write_text(path.read_text()[:-9])
    (row,) = [row for row in rows(folder) if row["status"] == "error"]
    assert row["check"] == "annotation files that are no XML" and path.name in row["examples"][0]


def test_the_cache_is_never_below_the_users_folder(own, monkeypatch):
    folder = own("yolo")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    with pytest.raises(UserError, match="nothing is written into a data set"):
        prepare(folder)


def test_a_sheet_shows_annotated_pictures_and_replaces_nothing(layouts, tmp_path):
    for name in ("yolo", "folders_flat"):
        sheet = tmp_path / f"{name}.png"
        assert call_tool("check_data.py", layouts / name, "--sheet", sheet).returncode == 0
        assert Image.open(sheet).width > 1000
    for place in (layouts / "yolo/images/sheet.png", sorted((layouts / "folders/train").rglob("*.png"))[0]):
        before = fingerprint(layouts)
        folder = layouts / ("yolo" if "sheet" in place.name else "coco")
        outcome = call_tool("check_data.py", folder, "--sheet", place)
        assert outcome.returncode == 1 and str(place) in outcome.stderr
        assert fingerprint(layouts) == before


# Parts of the training pictures.


def test_parts_are_nested_and_hold_every_class_in_proportion():
    random.seed(0)
    names = [f"{number}.jpg" for number in range(1000)]
    labels = [{0} if number < 800 else {1} if number < 950 else {2} for number in range(1000)]
    order = stratified_order(names, labels, 3)
    assert sorted(order) == list(range(1000)) and order == stratified_order(names, labels, 3)
    assert order != stratified_order(names, labels, 4)
    for size in (20, 100, 500):
        counts = Counter(min(labels[place]) for place in order[:size])
        for label, share in ((0, 0.8), (1, 0.15), (2, 0.05)):
            assert abs(counts[label] - share * size) <= 1, (size, counts)
    shuffled = random.sample(range(1000), 1000)
    again = stratified_order([names[place] for place in shuffled], [labels[place] for place in shuffled], 3)
    assert [shuffled[place] for place in again] == order


@pytest.mark.parametrize(("part", "size"), [({"fraction": 0.1}, 10), ({"fraction": 1e-6}, 1), ({"images": 100}, 100)])
def test_a_part_has_its_size(part, size):
    assert part_size(part, 100) == size


@pytest.mark.parametrize("part", [{}, {"images": 1, "fraction": 1}, {"fraction": 1.5}, {"images": 0}, {"image": 1}])
def test_a_part_that_cannot_be_is_refused(part):
    with pytest.raises(UserError):
        part_size(part, 100)
