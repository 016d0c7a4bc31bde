"""Hostile and odd input in bulk: each works or ends in one clear error; never a traceback, a hang or a wrong number."""

import copy
import json
import os
import pickle
import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SMALL, build_dataset, call_tool, result
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from backbones.errors import UserError, as_user_errors
from backbones.tensors import read_state_dict
from benchmark.cli import Options
from benchmark.config.complete import complete_model
from benchmark.config.identity import flatten
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.data.decode import UnreadableImageError, read_image
from benchmark.files.checkpoints import load_checkpoint
from benchmark.preflight import check_data
from benchmark.reporting.leaderboard import FORMATS, find_runs, make_report, render
from benchmark.training.train import train

pytestmark = pytest.mark.slow

SSDLITE = CONFIGS / "ssdlite_rexnet_x1.0.py"
WIDTH, HEIGHT = 60, 40
BULK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,  # the same inputs each time
    database=None,
    phases=(Phase.explicit, Phase.generate),  # what fails is small as it is
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def is_one_line(error: UserError) -> bool:
    text = str(error)
    return 0 < len(text) < 2000 and "\n" not in text.strip() and "Traceback" not in text


# Pictures.


@pytest.fixture(scope="module")
def photo(demo_data) -> Image.Image:
    path = sorted((demo_data / "val2017").glob("*.jpg"))[0]
    return Image.open(path).convert("RGB").resize((WIDTH, HEIGHT))


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def claim_size(png: bytes, width: int, height: int) -> bytes:
    """A PNG whose header says another size, with a checksum that fits."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def sixteen_bits(photo: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)


# What a file may hold, and how far what is read may be from the photo it shows, on average (0..255): a JPEG's loss.
READABLE: dict[str, tuple[Callable[[Image.Image], bytes], int]] = {
    "jpeg": (lambda photo: encoded(photo, "JPEG", quality=95), 6),
    "a png named jpg": (lambda photo: encoded(photo, "PNG"), 0),
    "webp": (lambda photo: encoded(photo, "WEBP", lossless=True), 0),
    "alpha": (lambda photo: encoded(photo.convert("RGBA"), "PNG"), 0),
    "cmyk": (lambda photo: encoded(photo.convert("CMYK"), "JPEG", quality=95), 6),
    "animated": (lambda photo: encoded(photo, "PNG", save_all=True, append_images=[photo.rotate(180)]), 0),
}
GREY: dict[str, Callable[[Image.Image], bytes]] = {
    "grey": lambda photo: encoded(photo.convert("L"), "PNG"),
    "grey with alpha": lambda photo: encoded(photo.convert("LA"), "PNG"),
    "16 bit": lambda photo: encoded(sixteen_bits(photo), "PNG"),
    "16 bit tiff": lambda photo: encoded(sixteen_bits(photo), "TIFF"),
}
UNREADABLE: dict[str, Callable[[Image.Image], bytes]] = {
    "empty": lambda photo: b"",
    "text": lambda photo: b"not a picture",
    "truncated jpeg": lambda photo: encoded(photo, "JPEG")[:500],
    "truncated png": lambda photo: encoded(photo, "PNG")[:500],
    "huge header": lambda photo: claim_size(encoded(photo, "PNG"), 60_000, 60_000),
    "too large header": lambda photo: claim_size(encoded(photo, "PNG"), 2**31, 2**31),
    "32-bit floats": lambda photo: encoded(Image.fromarray(np.ones((HEIGHT, WIDTH), np.float32)), "TIFF"),
    "32-bit integers": lambda photo: encoded(Image.fromarray(np.ones((HEIGHT, WIDTH), np.int32)), "TIFF"),
}


@pytest.mark.parametrize("name", READABLE)
def test_a_picture_of_any_kind_is_read_as_its_stored_pixels(name, photo, tmp_path):
    encode, loss = READABLE[name]
    (tmp_path / "a.jpg").write_bytes(encode(photo))
    pixels = read_image(str(tmp_path / "a.jpg"))
    assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert np.abs(pixels[..., ::-1].astype(int) - np.asarray(photo)).mean() <= loss


@pytest.mark.parametrize("name", GREY)
def test_a_grey_picture_keeps_its_values(name, photo, tmp_path):
    (tmp_path / "a.png").write_bytes(GREY[name](photo))
    expected = np.repeat(np.asarray(photo.convert("L"))[..., None], 3, axis=2)
    assert np.array_equal(read_image(str(tmp_path / "a.png")), expected)


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_picture_is_named(name, photo, tmp_path):
    (tmp_path / "a.jpg").write_bytes(UNREADABLE[name](photo))
    with pytest.raises(UnreadableImageError, match=r"a\.jpg") as caught:
        read_image(str(tmp_path / "a.jpg"))
    assert is_one_line(caught.value)


@BULK
@given(data=st.data())
@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_damaged_picture_is_read_or_named(format, photo, tmp_path, data):
    content = bytearray(encoded(photo, format))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
    (tmp_path / "a.jpg").write_bytes(content[:end])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels = read_image(str(tmp_path / "a.jpg"))
        except UnreadableImageError as error:
            assert is_one_line(error)
        else:
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3


def odd_sized_data(root: Path, sizes: list[tuple[int, int]]) -> Path:
    """A data set in COCO's layout of pictures of odd sizes, an object on the whole of each."""
    names = load_config(SSDLITE, demo=True).val_dataloader.dataset.metainfo.classes
    images = [{"id": i + 1, "file_name": f"{i}.png", "width": w, "height": h} for i, (w, h) in enumerate(sizes)]
    content = {
        "images": images,
        "annotations": [
            {
                "id": image["id"], "image_id": image["id"], "category_id": 1, "iscrowd": 0,
                "bbox": [0, 0, image["width"], image["height"]], "area": image["width"] * image["height"],
            }
            for image in images
        ],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
    }  # fmt: skip
    (root / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (root / split).mkdir()
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
        for image in images:
            Image.new("RGB", (image["width"], image["height"])).save(root / split / image["file_name"])
    return root


@pytest.mark.parametrize("config", ["ssdlite_rexnet_x1.0", "faster_rcnn_rexnet_x1.0"])
@pytest.mark.parametrize("size", [(1, 1), (1, 33), (20_000, 1), (3, 4_000)])
def test_a_picture_of_odd_sides_works_or_is_named(config, size, tmp_path):
    odd_sized_data(tmp_path, [(64, 48), size])
    cfg = load_config(
        CONFIGS / f"{config}.py", data_root=tmp_path, demo=True, options=["train_images=2", "val_images=2"]
    )
    complete_model(cfg)
    check_data(cfg)
    evaluated = build_dataset(cfg.val_dataloader.dataset)
    try:
        sample = evaluated[1]
    except UnreadableImageError as error:
        assert "1.png" in str(error) and is_one_line(error) and "faster" in config
    else:
        assert min(sample["inputs"].shape[1:]) >= 1
    trained = build_dataset(cfg.train_dataloader.dataset, filter_cfg=None)
    for seed in range(5):
        assert min(trained[1, seed]["inputs"].shape[1:]) >= 1  # another picture takes its place


def test_unreadable_training_pictures_throughout_end_the_run(demo_data, tmp_path):
    """MMEngine would draw a thousand others, and then raise a bare Exception."""
    cfg = load_config(SSDLITE, data_root=demo_data, demo=True)
    complete_model(cfg)
    dataset = build_dataset(cfg.train_dataloader.dataset, data_prefix={"img": "nowhere/"})
    with pytest.raises(UserError, match=r"20 training pictures in a row .*nowhere.*check_data\.py") as caught:
        dataset[0, 1]
    assert is_one_line(caught.value)


# result.json.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
TRAINING = {
    "iterations": 100, "batch_size": 8, "learning_rate": 0.1, "precision": "fp32", "pretrained": None, "seed": 0,
    "world_size": 1, "hours": 1.5,
}  # fmt: skip
PARTS = {"intervals": {"box_AP": (24.9, 25.7)}, "per_class": {"box": {"cat": 30.0}}, "training": TRAINING}
VALID = json.loads(result(**PARTS).model_dump_json())


def places(content: Any, place: tuple = ()) -> list[tuple]:
    """The path of every value in nested containers."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [found for key, child in items for found in ((*place, key), *places(child, (*place, key)))]


def summarize(folder: Path) -> None:
    """Make every format of a folder's leaderboard."""
    report = make_report(find_runs([folder]))
    assert all("\n" not in problem.strip() for problem in report.problems)
    for format in FORMATS:
        render(report, format)
    rows = [row for board in json.loads(render(report, "json"))["leaderboards"] for row in board["rows"]]
    assert bool(rows) != bool(report.problems)
    for row in rows:
        assert row["box_AP"] is None or isinstance(row["box_AP"]["mean"], (int, float))


@pytest.mark.slow
@BULK
@given(place=st.sampled_from(places(VALID)), value=JSON, drop=st.booleans())
def test_a_result_with_a_foreign_value_is_summarized_or_named(tmp_path, place, value, drop):
    content = copy.deepcopy(VALID)
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    if drop:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    (tmp_path / "result.json").write_text(json.dumps(content), encoding="utf-8", errors="replace")
    summarize(tmp_path)


@BULK
@given(end=st.integers(0, 900), junk=st.binary(max_size=20))
def test_a_damaged_result_is_summarized_or_named(tmp_path, end, junk):
    (tmp_path / "result.json").write_bytes(json.dumps(VALID).encode()[:end] + junk)
    summarize(tmp_path)


@pytest.mark.parametrize("value", [True, "25.3", [25.3], 10**400])
def test_a_figure_of_another_type_is_not_taken_for_a_number(tmp_path, value):
    content = {**VALID, "metrics": {"box_AP": value}}
    (tmp_path / "result.json").write_text(json.dumps(content))
    (problem,) = make_report(find_runs([tmp_path])).problems
    assert "metrics.box_AP" in problem


# Config overrides.

KEYS = sorted(flatten(load_config(SSDLITE).to_dict()))
PARENTS = sorted({key.rpartition(".")[0] for key in KEYS} - {""})
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([1e400, float("nan"), -1.0, "x", "", "imagenet", [], {}, [1, 2], {"type": "SGD"}, ("a",), 10**30]),
)


def tiny(work_dir: Path, data: Path, *options: str) -> Options:
    """A run as small as it gets."""
    few = ("train_images=16", "val_images=6", "train_dataloader.num_workers=0", "val_dataloader.num_workers=0")
    return Options(
        SSDLITE, work_dir=work_dir, data_root=data, demo=True, batch_size=2, cfg_options=(*SMALL, *few, *options)
    )


def works_or_is_named(run: Callable[[], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run()
        except UserError as error:
            assert is_one_line(error), error


@pytest.mark.slow
@settings(BULK, max_examples=100)
@given(key=st.sampled_from(KEYS + PARENTS) | st.text(max_size=10), value=VALUES)
@example(key="train_dataloader", value=3)
@example(key="model", value=None)
@example(key="schedule", value="x")
def test_an_override_is_taken_or_named(key, value):
    def load() -> None:
        cfg = load_config(SSDLITE, options=[f"{key}={value!r}"], demo=True)
        complete_model(cfg)

    works_or_is_named(load)


@pytest.mark.slow
@settings(BULK, max_examples=8)
@given(key=st.sampled_from([key for key in KEYS if not key.startswith(("demo", "workers"))]), value=VALUES)
@example(key="model.bbox_head.loss_cls.loss_weight", value="x")
@example(key="train_dataloader.batch_size", value=0)
@example(key="optim_wrapper.optimizer.type", value="NoSuchOptimizer")
@example(key="param_scheduler", value=5)
def test_a_run_with_an_override_works_or_is_named(demo_data, tmp_path_factory, key, value):
    options = tiny(tmp_path_factory.mktemp("run"), demo_data, f"{key}={value!r}")

    def run() -> None:
        with as_user_errors(str(SSDLITE)):  # as a tool would have it
            train(options, steps=1, overwrite=True)

    works_or_is_named(run)


@pytest.mark.parametrize("setting", ["load_from='x.pth'", "resume=True"])
def test_settings_that_would_be_ignored_are_refused(demo_data, tmp_path, setting):
    with pytest.raises(UserError, match="--pretrained FILE or --resume"):
        train(tiny(tmp_path, demo_data, setting), steps=1)


# Checkpoints that would run a command.


class Hostile:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture(params=["archive", "legacy", "pickle"])
def hostile(request, tmp_path) -> tuple[Path, Path]:
    """A .pth that would make a file if it were unpickled, in each of the formats, and that file's path."""
    path, marker = tmp_path / "iter_2.pth", tmp_path / "marker"
    content = {"state_dict": {"x": torch.zeros(1)}, "meta": Hostile(f"touch {marker}")}
    if request.param == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=request.param == "archive")
    return path, marker


def test_the_hostile_file_would_run_its_command(hostile):
    """So that the tests below can fail."""
    path, marker = hostile
    try:
        torch.load(path, weights_only=False)
    except Exception:
        pickle.loads(path.read_bytes())
    assert marker.exists()


@pytest.mark.parametrize("read", [load_checkpoint, read_state_dict])
def test_nothing_that_reads_weights_runs_code(hostile, read):
    path, marker = hostile
    with pytest.raises(UserError, match=r"iter_2\.pth"):
        read(path)
    assert not marker.exists()


FINETUNE = (CONFIGS / "finetune.py", "--dataset", "imagefolder", "--backbone", "efficientnet_lite0")
# Every tool that reads weights, and how it is given them.
TOOLS: dict[str, Callable[[Path, Path], list]] = {
    "eval_detection.py": lambda path, out: [SSDLITE, path],
    "eval_segmentation.py": lambda path, out: [CONFIGS / "mask_rcnn_rexnet_x1.0.py", path],
    "predict.py": lambda path, out: [SSDLITE, path, path.parent / "pictures", "--out", out],
    "export.py": lambda path, out: [SSDLITE, path, "--out", out / "x.onnx"],
    "train.py --resume": lambda path, out: [SSDLITE, "--resume", "--work-dir", path.parent],
    "train.py --pretrained": lambda path, out: [SSDLITE, "--pretrained", path, "--work-dir", out],
    "check_data.py": lambda path, out: [SSDLITE, "--cfg-options", f"model.backbone.pretrained={path}"],
}


@pytest.mark.slow
@pytest.mark.parametrize("hostile", ["archive"], indirect=True)
@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_refuses_a_hostile_checkpoint(tool, hostile, demo_data, tmp_path):
    path, marker = hostile
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "pictures/a.png")
    arguments = TOOLS[tool](path, tmp_path / "out")
    few = ["train_images=16", "val_images=6"]
    at = arguments.index("--cfg-options") + 1 if "--cfg-options" in arguments else len(arguments)
    arguments[at:at] = few if at < len(arguments) else ["--cfg-options", *few]
    run = call_tool(tool.split()[0], *arguments, "--demo", "--data-root", demo_data)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "iter_2.pth" in run.stderr + run.stdout and "Traceback" not in run.stderr
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize("hostile", ["archive"], indirect=True)
def test_the_fine_grained_tool_refuses_a_hostile_checkpoint(hostile, tmp_path):
    from benchmark.data.demo.class_folders import make_demo_data

    path, marker = hostile
    make_demo_data(tmp_path / "data", train_images=8, val_images=4)
    run = call_tool("eval_finegrained.py", FINETUNE[0], path, *FINETUNE[1:], "--demo", "--data-root", tmp_path / "data")
    assert run.returncode == 1 and not marker.exists(), run.stderr
