"""Predictions on the user's own pictures: the evaluation's detections, and what befalls pictures of all sorts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SMALL, build_detector, call_tool, small_config
from PIL import Image

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.data.annotations import read_annotations
from benchmark.inference.predict import Pictures, category_ids, load_detector, predict
from benchmark.inference.sources import find_pictures
from benchmark.training.evaluate import evaluate

pytestmark = pytest.mark.slow

SSDLITE, MASK_RCNN = CONFIGS / "ssdlite_mobilenet_v3_large.py", CONFIGS / "mask_rcnn_rexnet_x1.0.py"
TAME = (*SMALL, "val_dataloader.num_workers=0")
ORIENTATION = 0x112  # EXIF's tag


@pytest.fixture(scope="module")
def save_detector(randomise):
    """Function that saves a checkpoint of a config's detector, whose random weights find something."""

    def save(cfg, path: Path) -> Path:
        detector = randomise(build_detector(cfg))
        if cfg.task == "ssdlite":
            for conv in detector.bbox_head.cls_convs:
                torch.nn.init.normal_(conv[-1].weight)
        torch.save({"state_dict": detector.state_dict(), "meta": {}}, path)
        return path

    return save


def demo_config(path: Path):
    cfg = load_config(path, options=SMALL, demo=True)
    complete_model(cfg)
    return cfg


def by_file(detections: list[dict], images: list[dict]) -> dict[str, list[dict]]:
    names = {image["id"]: image["file_name"] for image in images}
    found = {name: [] for name in names.values()}
    for detection in detections:
        found[names[detection["image_id"]]].append(detection)
    return found


def assert_same(found: list[dict], expected: list[dict]) -> None:
    assert [d["category_id"] for d in found] == [d["category_id"] for d in expected]
    np.testing.assert_allclose([d["score"] for d in found], [d["score"] for d in expected], atol=1e-5)
    np.testing.assert_allclose([d["bbox"] for d in found], [d["bbox"] for d in expected], atol=1e-2)
    assert [d.get("segmentation") for d in found] == [d.get("segmentation") for d in expected]


def compare_with_evaluation(config: Path, checkpoint: Path, tool: str, root: Path, tmp_path: Path, **options) -> None:
    """Predict and evaluate the same pictures, and hold the detections against one another."""
    counts = ("val_images=6", "train_images=16") if options.get("demo") else ()
    common = Options(config, cfg_options=(*TAME, *counts), data_root=root, **options)
    evaluate(
        Options(**{**vars(common), "work_dir": tmp_path / "run"}), checkpoint, tool=tool, out=tmp_path / "eval.json"
    )
    found = predict(common, checkpoint, [root / "val2017"], tmp_path / "out", score_threshold=0.3)
    truth = read_annotations(root / "annotations" / "instances_val2017.json")
    own = read_annotations(tmp_path / "out" / "images.json")  # COCO's layout
    assert own["categories"] == [{"id": c["id"], "name": c["name"]} for c in truth["categories"]]
    expected = by_file(json.loads((tmp_path / "eval.json").read_text()), truth["images"])
    predicted = by_file(json.loads((tmp_path / "out" / "predictions.json").read_text()), own["images"])
    assert found.pictures == len(expected) == len(predicted)
    assert found.detections > len(expected)
    for name, detections in expected.items():
        assert_same(predicted[name], detections)
        assert Image.open(tmp_path / "out" / name).size == Image.open(root / "val2017" / name).size


def test_ssdlite_finds_what_the_evaluation_finds_on_real_pictures(coco_mini, save_detector, tmp_path):
    checkpoint = save_detector(small_config("ssdlite_mobilenet_v3_large"), tmp_path / "x.pth")
    compare_with_evaluation(SSDLITE, checkpoint, "eval_detection.py", coco_mini, tmp_path)


def test_mask_rcnn_finds_what_the_evaluation_finds(demo_data, save_detector, tmp_path):
    checkpoint = save_detector(demo_config(MASK_RCNN), tmp_path / "x.pth")
    compare_with_evaluation(MASK_RCNN, checkpoint, "eval_segmentation.py", demo_data, tmp_path, demo=True)


@pytest.fixture(scope="module")
def album(demo_data, tmp_path_factory) -> Path:
    """A folder of pictures of all sorts, five of them unreadable."""
    folder = tmp_path_factory.mktemp("album")
    photo = Image.open(find_pictures(demo_data / "val2017")[0]).convert("RGB").resize((60, 40))
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    photo.save(folder / "a.jpg")
    photo.save(folder / "turned.jpg", exif=turned)
    (folder / "below").mkdir()
    photo.save(folder / "below" / "a.jpg")
    (folder / "below" / ".hidden.jpg").write_text("of no interest")
    photo.convert("L").save(folder / "grey.png")
    photo.convert("P").save(folder / "palette.png")
    photo.convert("CMYK").save(folder / "cmyk.JPG")
    photo.convert("RGBA").save(folder / "alpha.webp")
    Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    Image.new("RGB", (1, 1)).save(folder / "tiny.png")
    (folder / "folder.jpg").mkdir()
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not a picture")
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:500])
    Image.new("RGB", (1, 3000)).save(folder / "line.png")
    Image.new("1", (20_000, 10_000)).save(folder / "vast.png")
    return folder


READABLE = [
    "a.jpg",
    "alpha.webp",
    "below/a.jpg",
    "cmyk.JPG",
    "deep.png",
    "grey.png",
    "palette.png",
    "tiny.png",
    "turned.jpg",
]


def test_unreadable_pictures_are_named_and_the_others_written(album, save_detector, tmp_path):
    checkpoint = save_detector(demo_config(MASK_RCNN), tmp_path / "x.pth")
    out = tmp_path / "new" / "out"
    arguments = [MASK_RCNN, checkpoint, album, "--out", out, "--demo", "--data-root", tmp_path, "--batch-size", "3"]
    run = call_tool("predict.py", *arguments, "--score-threshold", "0.1", "--cfg-options", *SMALL)
    assert run.returncode == 1
    lines = [line for line in run.stderr.splitlines() if line.startswith("skipped ")]
    assert run.stderr.splitlines() == lines
    named = {Path(line.removeprefix("skipped ").partition(": ")[0]).name: line for line in lines}
    assert sorted(named) == ["cut.jpg", "empty.jpg", "line.png", "text.jpg", "vast.png"]
    assert "runcated" in named["cut.jpg"]
    assert "1x3000 pixels" in named["line.png"]
    assert "9 pictures" in run.stdout

    images = json.loads((out / "images.json").read_text())
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in images["images"]}
    assert sorted(sizes) == READABLE
    assert sizes["turned.jpg"] == (40, 60)
    assert [category["id"] for category in images["categories"]] == [1, 2, 3, 4, 5, 6]
    drawn = sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.suffix != ".json" and path.is_file()
    )
    assert drawn == [name + ".png" if name.endswith(".webp") else name for name in READABLE]
    assert Image.open(out / "turned.jpg").size == (40, 60)
    found = by_file(json.loads((out / "predictions.json").read_text()), images["images"])
    assert found["a.jpg"][0]["segmentation"]["size"] == [40, 60]
    assert found["turned.jpg"][0]["segmentation"]["size"] == [60, 40]
    assert [d["score"] for d in found["a.jpg"]] == pytest.approx([d["score"] for d in found["below/a.jpg"]], abs=1e-4)
    plain = np.asarray(Image.open(album / "a.jpg").convert("RGB")).astype(int)
    assert np.abs(np.asarray(Image.open(out / "a.jpg")).astype(int) - plain).max() > 50


def test_a_second_run_writes_over_the_first_and_leaves_it_out(demo_data, save_detector, tmp_path):
    folder, out = tmp_path / "pictures", tmp_path / "pictures" / "found"
    folder.mkdir()
    Image.open(find_pictures(demo_data / "val2017")[0]).save(folder / "a.png")
    checkpoint = save_detector(demo_config(SSDLITE), tmp_path / "x.pth")
    options = Options(SSDLITE, cfg_options=TAME, demo=True, data_root=tmp_path)
    for threshold, changed in ((1.0, False), (0.0, True)):
        found = predict(options, checkpoint, [folder], out, score_threshold=threshold)
        assert (found.pictures, found.unreadable) == (1, {})
        assert found.detections == len(json.loads((out / "predictions.json").read_text())) > 0
        same = np.array_equal(np.asarray(Image.open(out / "a.png")), np.asarray(Image.open(folder / "a.png")))
        assert same != changed


def test_pictures_are_prepared_as_a_viewer_shows_them(album):
    pipeline = [{"type": "PackDetInputs", "meta_keys": ("img_id", "ori_shape")}]
    prepared = Pictures([album / "a.jpg", album / "turned.jpg"], pipeline)
    photo, turned = (prepared[i]["inputs"].numpy().transpose(1, 2, 0).astype(int) for i in (0, 1))
    assert np.abs(turned - np.rot90(photo, -1)).max() < 30  # both are JPEGs
    assert prepared[1]["data_samples"].ori_shape == (60, 40)


def test_category_ids_are_cocos(coco_mini, demo_data, tmp_path):
    cfg = load_config(SSDLITE, data_root=tmp_path)
    annotations = read_annotations(coco_mini / "annotations" / "instances_val2017.json")
    assert category_ids(cfg) == [category["id"] for category in annotations["categories"]]
    assert category_ids(cfg)[-1] == 90
    assert category_ids(load_config(SSDLITE, data_root=coco_mini)) == category_ids(cfg)


def test_category_ids_of_other_classes(demo_data, tmp_path):
    annotations = read_annotations(demo_data / "annotations" / "instances_val2017.json")
    expected = [category["id"] for category in annotations["categories"]]
    assert category_ids(load_config(SSDLITE, demo=True, data_root=demo_data)) == expected
    assert category_ids(load_config(SSDLITE, demo=True, data_root=tmp_path)) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(UserError, match=r"'person' is not in .*instances_val2017\.json"):
        category_ids(load_config(SSDLITE, data_root=demo_data))


def test_a_checkpoint_of_another_model_is_refused(save_detector, tmp_path):
    checkpoint = save_detector(demo_config(SSDLITE), tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth is a checkpoint of another model.*cls_convs"):
        load_detector(load_config(SSDLITE, options=SMALL), checkpoint)


@pytest.mark.parametrize(
    ("config", "source", "out", "changes", "message"),
    [
        ("finetune_food101_rexnet_x1.0", "album", "out", {}, "tools/eval_finegrained.py"),
        ("ssdlite_rexnet_x1.0", "album", "album", {}, "holds the pictures themselves"),
        ("ssdlite_rexnet_x1.0", "album/a.png", "album", {}, "holds the pictures themselves"),
        ("ssdlite_rexnet_x1.0", "album", ".", {}, "holds the pictures themselves"),
        ("ssdlite_rexnet_x1.0", "album", "other", {}, "no earlier predictions"),
        ("ssdlite_rexnet_x1.0", "album", "album/a.png", {}, "is a file"),
        ("ssdlite_rexnet_x1.0", "other", "out", {}, r"No pictures or videos in .*\.jpg"),
        ("ssdlite_rexnet_x1.0", "absent", "out", {}, "No such picture"),
        ("ssdlite_rexnet_x1.0", "twins", "out", {}, r"would both be drawn as .*a\.tif\.png"),
        ("ssdlite_rexnet_x1.0", "album", "out", {"score_threshold": 30}, r"in 0\.\.1, found 30"),
        ("ssdlite_rexnet_x1.0", "album", "out", {"batch_size": 0}, "from 1, found 0"),
        ("ssdlite_rexnet_x1.0", "album", "out", {}, "Checkpoint not found"),
    ],
)
def test_mistakes_are_named_before_a_model_is_built(config, source, out, changes, message, tmp_path):
    for name in ("album/a.png", "other/notes.txt", "twins/a.tif", "twins/a.tif.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    options = Options(CONFIGS / f"{config}.py", batch_size=changes.get("batch_size"))
    threshold = changes.get("score_threshold", 0.3)
    with pytest.raises(UserError, match=message):
        predict(options, tmp_path / "x.pth", [tmp_path / source], tmp_path / out, score_threshold=threshold)
    assert not (tmp_path / "out").exists()
