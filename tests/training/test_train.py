"""Training and evaluating a detector: resuming, repeating, and the faults a run meets."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from helpers import SMALL, pycocotools_ap

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.cli import Options
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.evaluation.coco_ap import STATS
from benchmark.files import ownership
from benchmark.files.atomic import write_atomically
from benchmark.files.checkpoints import load_checkpoint
from benchmark.files.ownership import owned
from benchmark.files.run_folder import list_checkpoints
from benchmark.records.figures import format_figures
from benchmark.records.result import CheckpointRecord, Result, read_result
from benchmark.training.evaluate import evaluate
from benchmark.training.train import train

pytestmark = pytest.mark.slow

SSDLITE = CONFIGS / "ssdlite_rexnet_x1.0.py"
TRAIN_IMAGES, VAL_IMAGES = 16, 6  # of the demo_data fixture
TOOL = "eval_detection.py"


def options(demo_data: Path, work_dir: Path, *more: str, **changes) -> Options:
    cfg_options = [
        *SMALL,
        f"train_images={TRAIN_IMAGES}",
        f"val_images={VAL_IMAGES}",
        "train_dataloader.num_workers=0",
        "val_dataloader.num_workers=0",
        "default_hooks.logger.interval=1",
        "log_processor.window_size=1",
        "default_hooks.checkpoint.interval=2",
        *more,
    ]
    last = {option.partition("=")[0]: option for option in cfg_options}
    content = {"config": SSDLITE, "data_root": demo_data, "demo": True, "batch_size": 4, **changes}
    return Options(work_dir=work_dir, cfg_options=[*last.values()], **content)


def losses(work_dir: Path) -> list[str]:
    """The printed losses of a run, iteration by iteration."""
    return re.findall(r"train +\d+/\d+  (.*?)  lr", (work_dir / "run.log").read_text())


@pytest.fixture(scope="module")
def run(demo_data, tmp_path_factory) -> tuple[Path, Result]:
    work_dir = tmp_path_factory.mktemp("run")
    return work_dir, train(options(demo_data, work_dir), steps=4, pictures=2)


def test_a_run_is_one_folder(run):
    work_dir, result = run
    assert read_result(work_dir / "result.json") == result
    assert [path.name for path in list_checkpoints(work_dir)] == ["iter_2.pth", "iter_4.pth"]
    assert {path.name for path in work_dir.iterdir()} >= {"config.py", "run.log", "vis_data", "pictures"}
    assert len(list((work_dir / "pictures").rglob("*.png"))) == 3  # two pictures and the sheet
    assert len(losses(work_dir)) == 4


def test_the_result_says_what_was_run(run):
    _, result = run
    assert (result.task, result.backbone, result.config.name) == (
        "ssdlite",
        "mobilenet_v3_small",
        "ssdlite_mobilenet_v3_small",
    )
    assert (result.data.name, result.data.images, result.data.demo) == ("demo", VAL_IMAGES, True)
    assert set(result.metrics) == {f"box_{name}" for name in STATS}
    assert (result.training.iterations, result.training.batch_size, result.training.seed) == (4, 4, 0)
    assert result.training.learning_rate == pytest.approx(0.02)  # 4 images: the demo's own batch
    assert result.training.images_per_second > 0
    assert result.cost.input == (1, 3, 320, 320)
    assert "box  AP" in format_figures(result.metrics, result.intervals)


def test_the_same_seed_gives_the_same_digits(run, demo_data, tmp_path):
    work_dir, _ = run
    train(options(demo_data, tmp_path / "same"), steps=4)
    train(options(demo_data, tmp_path / "other"), steps=4, seed=1)
    assert losses(tmp_path / "same") == losses(work_dir)
    assert losses(tmp_path / "other") != losses(work_dir)


def test_resuming_continues_where_the_run_stopped(run, demo_data, tmp_path):
    work_dir, result = run
    for name in ("iter_2.pth", "config.py"):
        shutil.copy(work_dir / name, tmp_path)
    resumed = train(options(demo_data, tmp_path), steps=4, resume=True)
    assert len(losses(tmp_path)) == 2
    assert resumed.metrics.keys() == result.metrics.keys()
    assert resumed.training.hours > 0
    again = load_config(tmp_path / "config.py")  # a config like any other
    assert (again.name, again.resume, again.load_from) == ("ssdlite_mobilenet_v3_small", False, None)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["iter_2.pth", "iter_4.pth"]


def test_resuming_a_finished_run_evaluates_it(run, demo_data, tmp_path):
    work_dir, result = run
    shutil.copy(work_dir / "iter_4.pth", tmp_path)
    assert train(options(demo_data, tmp_path), steps=4, resume=True).metrics == result.metrics


def test_a_run_is_not_overwritten_unasked(run, demo_data):
    work_dir, _ = run
    before = sorted((path.name, path.stat().st_mtime_ns) for path in work_dir.iterdir())
    with pytest.raises(UserError, match="already holds a run"):
        train(options(demo_data, work_dir), steps=4)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in work_dir.iterdir()) == before


def test_overwriting_waits_until_the_new_run_can_begin(run, demo_data, tmp_path):
    work_dir, _ = run
    for name in ("iter_4.pth", "result.json"):
        shutil.copy(work_dir / name, tmp_path)
    with pytest.raises(UserError, match="Unknown backbone"):
        train(options(demo_data, tmp_path, "model.backbone.name=rexnet_x9"), steps=4, overwrite=True)
    assert (tmp_path / "iter_4.pth").exists()
    mine = ("mine.txt", "pictures/my_holiday.png", "pictures/sheet.jpg", "vis_data/notes.txt")
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    train(options(demo_data, tmp_path), steps=2, overwrite=True)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["iter_2.pth"]
    assert all((tmp_path / name).read_text() == "mine" for name in mine)


def test_a_folder_that_holds_no_run_is_not_overwritten(demo_data, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds no run that --overwrite could replace"):
        train(options(demo_data, tmp_path), steps=2, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_in_use_is_refused_and_left_alone(demo_data, tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "_PATIENCE", 0.0)
    with owned(tmp_path):
        with pytest.raises(UserError, match=rf"is in use by process {os.getpid()} on .* since 20"):
            train(options(demo_data, tmp_path), steps=2)
        assert [path.name for path in tmp_path.iterdir()] == [".owner"]


def test_nothing_to_resume_is_named(demo_data, tmp_path):
    with pytest.raises(UserError, match="Nothing to resume"):
        train(options(demo_data, tmp_path), steps=4, resume=True)


def test_evaluation_repeats_the_trainings_figures(run, demo_data, tmp_path):
    work_dir, result = run
    again = evaluate(
        options(demo_data, tmp_path), work_dir / "iter_4.pth", tool=TOOL, out=tmp_path / "found.json", per_class=True
    )
    assert again.metrics == result.metrics
    annotations = demo_data / "annotations/instances_val2017.json"
    stats, _ = pycocotools_ap(annotations, json.loads((tmp_path / "found.json").read_text()), "bbox")
    for name, place in STATS.items():
        expected = None if stats[place] < 0 else pytest.approx(100 * stats[place], abs=1e-6)
        assert again.metrics[f"box_{name}"] == expected
    assert len(again.per_class["box"]) == 6
    assert again.training == result.training


def test_an_evaluation_names_its_checkpoint_and_replaces_no_trainings_result(run, demo_data, tmp_path):
    work_dir, result = run
    for name in ("iter_2.pth", "result.json", "detections.json"):
        shutil.copy(work_dir / name, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    found = evaluate(options(demo_data, None), tmp_path / "iter_2.pth", tool=TOOL)
    own = tmp_path / "eval_iter_2"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path != own} == before
    assert read_result(own / "result.json") == found
    assert found.checkpoint == CheckpointRecord(
        file="iter_2.pth", sha256=file_sha256(tmp_path / "iter_2.pth"), iteration=2
    )
    assert found.training == result.training
    evaluate(options(demo_data, None), tmp_path / "iter_2.pth", tool=TOOL)  # once more is no other
    for refused in (options(demo_data, tmp_path), options(demo_data, own, "dataset_name=mine")):
        with pytest.raises(UserError, match="must not replace them: give another --work-dir"):
            evaluate(refused, tmp_path / "iter_2.pth", tool=TOOL)


def test_weights_that_are_not_finite_are_refused(run, demo_data, tmp_path):
    work_dir, _ = run
    checkpoint = torch.load(work_dir / "iter_4.pth", weights_only=True)
    name = next(iter(checkpoint["state_dict"]))
    checkpoint["state_dict"][name][0] = float("nan")
    torch.save(checkpoint, tmp_path / "nan.pth")
    with pytest.raises(UserError, match=rf"weights that are not finite \({re.escape(name)} first\)"):
        evaluate(options(demo_data, tmp_path / "run"), tmp_path / "nan.pth", tool=TOOL)
    assert not (tmp_path / "run").exists()


def test_a_place_for_the_detections_that_is_none_is_named(run, demo_data, tmp_path):
    work_dir, _ = run
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Folder .*file cannot be made"):
        evaluate(
            options(demo_data, tmp_path / "run"), work_dir / "iter_4.pth", tool=TOOL, out=tmp_path / "file/found.json"
        )


def test_a_checkpoint_of_another_model_is_named(run, demo_data, tmp_path):
    work_dir, _ = run
    other = options(demo_data, tmp_path, "model.backbone.name=mobilenet_v2")
    with pytest.raises(UserError, match=r"another model than the config's: \d+ missing"):
        evaluate(other, work_dir / "iter_4.pth", tool=TOOL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_what_is_no_checkpoint_is_named(demo_data, tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.pth"):
        load_checkpoint(tmp_path / "bad.pth")


def test_a_config_inside_a_checkpoint_is_not_executed(run, demo_data, tmp_path):
    """MMEngine would run meta['config'] as Python on resuming."""
    work_dir, _ = run
    marker = tmp_path / "marker"
    checkpoint = load_checkpoint(work_dir / "iter_2.pth")
    checkpoint["meta"]["config"] = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
    torch.save(checkpoint, tmp_path / "iter_2.pth")
    train(options(demo_data, tmp_path), steps=4, resume=True)
    assert not marker.exists()


def test_an_evaluation_does_not_write_into_an_unfinished_training(run, demo_data, tmp_path):
    shutil.copy(run[0] / "iter_2.pth", tmp_path)
    with pytest.raises(UserError, match=r"holds a training \(iter_2\.pth\)"):
        evaluate(options(demo_data, tmp_path), run[0] / "iter_4.pth", tool=TOOL)
    assert [path.name for path in tmp_path.iterdir()] == ["iter_2.pth"]


def test_a_run_closes_its_files(run, demo_data, tmp_path):
    evaluate(options(demo_data, tmp_path), run[0] / "iter_4.pth", tool=TOOL)
    held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert str(tmp_path / "run.log") not in held


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("good")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        write_atomically(path, fail)
    assert path.read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def corrupt_data(demo_data, tmp_path) -> Path:
    """The data set with one training and one validation picture cut off."""
    root = tmp_path / "data"
    shutil.copytree(demo_data, root)
    for split in ("train2017", "val2017"):
        picture = sorted((root / split).glob("*.jpg"))[1]
        picture.write_bytes(picture.read_bytes()[:2000])
    return root


def test_a_corrupt_picture_is_counted_in_training_and_left_out_of_an_evaluation(run, corrupt_data, tmp_path):
    work_dir, _ = run
    broken, cut_off = (sorted((corrupt_data / split).glob("*.jpg"))[1].name for split in ("train2017", "val2017"))
    result = train(options(corrupt_data, tmp_path / "train"), steps=8)  # 32 pictures: each of the 16 twice
    assert result.training.unreadable_images >= 1
    assert (result.data.unreadable, result.data.images) == ((cut_off,), VAL_IMAGES - 1)
    log = (tmp_path / "train" / "run.log").read_text()
    assert f"Skipped: Cannot decode image {corrupt_data}/train2017/{broken}" in log
    assert f"1 image files that cannot be read; first: {cut_off}" in log  # before the first iteration

    in_a_worker = options(corrupt_data, tmp_path / "eval", "val_dataloader.num_workers=1")
    evaluated = evaluate(in_a_worker, work_dir / "iter_4.pth", tool=TOOL, bootstrap=100, pictures=6)
    assert read_result(tmp_path / "eval/result.json").data.unreadable == (cut_off,)
    # The figures are those of data without that picture.
    path = corrupt_data / "annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    (gone,) = [image["id"] for image in content["images"] if image["file_name"] == cut_off]
    content["images"] = [image for image in content["images"] if image["id"] != gone]
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] != gone]
    path.write_text(json.dumps(content))
    (corrupt_data / "val2017" / cut_off).unlink()
    manifest = corrupt_data / "demo.json"
    manifest.write_text(manifest.read_text().replace(f'images": {VAL_IMAGES}', f'images": {VAL_IMAGES - 1}'))
    fewer = options(corrupt_data, tmp_path / "fewer", f"val_images={VAL_IMAGES - 1}")
    without = evaluate(fewer, work_dir / "iter_4.pth", tool=TOOL, bootstrap=100)
    assert (evaluated.metrics, evaluated.intervals) == (without.metrics, without.intervals)


def test_an_evaluation_without_a_readable_picture_is_an_error(run, corrupt_data, tmp_path):
    for picture in (corrupt_data / "val2017").glob("*.jpg"):
        picture.write_bytes(picture.read_bytes()[:2000])
    with pytest.raises(UserError, match=rf"None of the {VAL_IMAGES} pictures can be read.*Cannot decode image"):
        evaluate(options(corrupt_data, tmp_path / "eval"), run[0] / "iter_4.pth", tool=TOOL)
    with pytest.raises(UserError, match=rf"all {VAL_IMAGES} image files cannot be read"):
        train(options(corrupt_data, tmp_path / "train"), steps=2)


def test_a_loss_that_is_not_finite_stops_the_run(demo_data, tmp_path):
    diverging = options(demo_data, tmp_path, "optim_wrapper.optimizer.lr=1e18", "param_scheduler=[]")
    with pytest.raises(UserError, match=r"The loss is (nan|inf) at iteration \d+ .*images: .*\.jpg"):
        train(diverging, steps=8)


def test_bf16_trains(demo_data, tmp_path):
    result = train(options(demo_data, tmp_path, precision="bf16"), steps=2)
    assert result.training.precision == "bf16"


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 is there on a GPU")
def test_fp16_on_a_cpu_says_what_to_do(demo_data, tmp_path):
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        train(options(demo_data, tmp_path, precision="fp16"), steps=2)


def test_an_optimizers_state_survives_with_its_scaler():
    from benchmark.models.precision import AutocastOptimWrapper

    layer = torch.nn.Linear(2, 1)
    wrapper = AutocastOptimWrapper("bf16", optimizer=torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9))
    with wrapper.optim_context(layer):
        out = layer(torch.ones(1, 2))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().sum())
    again = AutocastOptimWrapper("bf16", optimizer=torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9))
    again.load_state_dict(wrapper.state_dict())
    momenta = [s["momentum_buffer"] for s in again.optimizer.state.values()]
    assert len(momenta) == 2
    assert all(m.abs().sum() > 0 for m in momenta)
