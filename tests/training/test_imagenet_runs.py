"""Training and evaluating on ImageNet: the recipe, pretrained weights by the command line, and real accuracy."""

from pathlib import Path

import pytest
import torch
from finegrained_layouts import picture
from helpers import call_tool
from mmengine.structures import BaseDataElement
from PIL import Image
from torchvision.transforms.v2 import functional as F

from backbones.catalogue import CATALOGUE, build_network
from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.data.imagenet import SYNSETS
from benchmark.data.transforms import DecodeCenterCrop, TimmRandAugment
from benchmark.models.classifier import FineGrainedClassifier
from benchmark.records.result import read_result
from benchmark.seeding import seeded
from benchmark.training.evaluate import evaluate

SMALL = "mobilenet_v3_small"
IMAGENET = CONFIGS / "imagenet.py"
NO_WORKERS = ("train_dataloader.num_workers=0", "val_dataloader.num_workers=0")


def completed(backbone: str, template: str = "imagenet", *options: str):
    cfg = load_config(CONFIGS / f"{template}.py", backbone=backbone, options=options)
    complete_model(cfg)
    return cfg


def pictures(root: Path, split: str, count: int = 4) -> Path:
    for number in range(count):
        picture(root / split / SYNSETS[300 * number] / f"{number}.JPEG", number)
    return root


# The recipe (paper, section 5.1).


def test_the_recipe_is_what_the_paper_prints():
    cfg = completed("rexnet_x1.0")
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("SGD", 0.5, 1e-5)
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 512
    assert [schedule.type for schedule in cfg.param_scheduler] == ["CosineAnnealingLR"]
    assert cfg.train_cfg.max_iters == pytest.approx(400 * 1_281_167 / 512, abs=1)
    assert {cfg[loader].dataset.pipeline[0].size for loader in ("train_dataloader", "val_dataloader")} == {224}
    assert cfg.model.backbone.pretrained is None and cfg.model.num_classes == 1000


def test_the_variant_adds_augmentation_and_nothing_else():
    plain, more = completed("rexnet_x1.0"), completed("rexnet_x1.0", "imagenet_randaug")
    assert (more.model.erasing, more.model.label_smoothing) == (0.2, 0.1)
    assert more.name == "imagenet_randaug_rexnet_x1.0"
    step = more.train_dataloader.dataset.pipeline.pop(1)
    mean = more.model.data_preprocessor.mean
    assert step == dict(type="TimmRandAugment", policy="rand-m9-mstd0.5", size=224, mean=mean)
    assert more.train_dataloader == plain.train_dataloader and more.optim_wrapper == plain.optim_wrapper


@pytest.mark.parametrize(
    ("backbone", "size", "resize", "squash"),
    [
        ("efficientnet_b1", 240, 266, False),  # a crop of 0.9
        ("efficientnet_b5", 456, 456, True),
        ("tinynet_e", 106, 121, False),
        ("inception_v3", 299, 341, False),
    ],
)
def test_each_row_has_its_own_input(backbone, size, resize, squash):
    step = completed(backbone).val_dataloader.dataset.pipeline[0]
    assert (step.size, step.resize, step.squash) == (size, resize, squash)
    assert step.interpolation == CATALOGUE[backbone].preprocessing.interpolation


def test_another_size_takes_its_share_of_the_resize():
    step = completed("rexnet_x1.0", "imagenet", "image_size=112").val_dataloader.dataset.pipeline[0]
    assert (step.size, step.resize) == (112, 128)


def test_a_squashed_picture_keeps_both_ends(tmp_path):
    wide = Image.new("RGB", (80, 40), "black")
    wide.paste("white", (0, 0, 16, 40))
    wide.save(tmp_path / "wide.png")
    left = {}
    for squash in (False, True):
        step = DecodeCenterCrop(32, 32, "bilinear", squash=squash)
        left[squash] = step.transform({"img_path": str(tmp_path / "wide.png")})["img"].getpixel((0, 16))
    assert left == {False: (0, 0, 0), True: (255, 255, 255)}


def test_randaugment_repeats_under_a_seed():
    image = Image.effect_noise((64, 64), 80).convert("RGB")
    step = TimmRandAugment("rand-m9-n2-p1", 64, (124, 116, 104))
    found = []
    for seed in (1, 1, 2):
        with seeded(seed):
            found.append(step.transform({"img": image})["img"].tobytes())
    assert found[0] == found[1] != found[2]
    with pytest.raises(UserError, match="no policy 'rand-x9'"):
        TimmRandAugment("rand-x9", 64, (0, 0, 0))


def test_erasing_changes_training_images_and_no_others():
    model = FineGrainedClassifier(dict(name=SMALL), num_classes=6, erasing=1.0).eval()
    seen: list[torch.Tensor] = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    samples = [BaseDataElement(metainfo={"gt_label": 0}) for _ in range(2)]
    for mode in ("loss", "predict"):
        model(torch.zeros(2, 3, 32, 32), samples, mode=mode)
    assert (seen[0] != 0).flatten(1).any(dim=1).all() and not seen[1].any()


def test_label_smoothing_is_that_of_the_loss():
    torch.manual_seed(0)
    model = FineGrainedClassifier(dict(name=SMALL), num_classes=6, label_smoothing=0.1).eval()
    torch.nn.init.normal_(model.backbone.classifier.bias)  # or all classes have nearly the same score
    image, samples = torch.randn(1, 3, 32, 32), [BaseDataElement(metainfo={"gt_label": 3})]
    scores = model(image).log_softmax(1)[0]
    expected = -(0.9 * scores[3] + 0.1 * scores.mean())
    assert model(image, samples, mode="loss")["loss_cls"].item() == pytest.approx(expected.item(), rel=1e-5)


# Pretrained weights.


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(build_network(SMALL).state_dict(), path)
    return path


@pytest.mark.slow
def test_pretrained_weights_are_evaluated_as_the_network_alone_does(tmp_path, weights):
    """Each picture lies in the folder of one of the network's guesses: the first, third, fifth and seventh."""
    net, root, run = build_network(SMALL).eval(), tmp_path / "data", tmp_path / "run"
    net.load_state_dict(torch.load(weights))
    crop, record = DecodeCenterCrop(224, 256, "bicubic"), CATALOGUE[SMALL].preprocessing
    for number in range(4):
        loose = tmp_path / f"{number}.JPEG"
        picture(loose, number)
        image = F.pil_to_tensor(crop.transform({"img_path": str(loose)})["img"]) / 255
        guesses = net(F.normalize(image, record.mean, record.std)[None]).topk(7).indices[0].tolist()
        folder = root / "val" / SYNSETS[guesses[2 * number]]
        folder.mkdir(parents=True, exist_ok=True)
        loose.rename(folder / loose.name)
    common = ("--backbone", SMALL, "--data-root", root, "--allow-partial", "--cfg-options", *NO_WORKERS)
    done = call_tool("eval_imagenet.py", IMAGENET, "--pretrained", weights, "--work-dir", run, "--per-class", *common)
    assert done.returncode == 0, done.stderr
    assert "images 4 of a part of the data set" in done.stdout and "top-1 " in done.stdout
    found = read_result(run / "result.json")
    assert (found.metrics["top1"], found.metrics["top5"]) == (25.0, 75.0)
    assert found.data.partial and found.data.images == 4 and found.training is None
    assert found.checkpoint.file == str(weights) and found.intervals.keys() >= {"top1", "top5"}
    assert set(SYNSETS) == set(found.per_class["top1"])


@pytest.mark.slow
def test_weights_that_are_nothing_to_evaluate_are_refused(tmp_path, weights):
    state = {key: value for key, value in torch.load(weights).items() if not key.startswith("classifier")}
    torch.save(state, tmp_path / "headless.pth")
    root = pictures(tmp_path / "data", "val")
    common = (IMAGENET, "--backbone", SMALL, "--data-root", root, "--allow-partial", "--work-dir", tmp_path / "run")
    for given, words in (
        (("--pretrained", tmp_path / "headless.pth"), "have no classifier for the 1000 classes of ImageNet"),
        (("--pretrained", "none"), "random weights are nothing to evaluate"),
        ((), "Give a CHECKPOINT of a run or --pretrained"),
        ((weights, "--pretrained", weights), "Give a CHECKPOINT of a run or --pretrained"),
    ):
        refused = call_tool("eval_imagenet.py", *common, *given)
        assert refused.returncode == 1 and words in refused.stderr and len(refused.stderr.splitlines()) <= 2
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_reassessed_labels_are_counted_where_given_and_refused_for_other_names(tmp_path, weights):
    for number, synset in enumerate((SYNSETS[1], SYNSETS[2]), 1):
        picture(tmp_path / f"data/val/{synset}/ILSVRC2012_val_{number:08d}.JPEG", number)
    (tmp_path / "real.json").write_text(f"[{list(range(1000))}, []]")
    common = ("--backbone", SMALL, "--allow-partial", "--pretrained", weights, "--real", tmp_path / "real.json")
    arguments = (IMAGENET, *common, "--work-dir", tmp_path / "run", "--cfg-options", *NO_WORKERS)
    done = call_tool("eval_imagenet.py", *arguments, "--data-root", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert read_result(tmp_path / "run/result.json").metrics["real"] == 100.0
    done = call_tool("eval_imagenet.py", *arguments, "--data-root", pictures(tmp_path / "other", "val"))
    assert done.returncode == 1 and "leave the ReaL labels out" in done.stderr


@pytest.mark.slow
def test_the_recipe_trains_and_its_checkpoint_is_evaluated(tmp_path):
    """By the command lines, on ImageNet's layout, with all of the variant's augmentation."""
    root = pictures(pictures(tmp_path / "data", "train"), "val")
    common = ("--backbone", SMALL, "--data-root", root, "--allow-partial", "--batch-size", 2)
    config, options = CONFIGS / "imagenet_randaug.py", ("--cfg-options", *NO_WORKERS, "image_size=48")
    done = call_tool("train.py", config, "--work-dir", tmp_path / "run", "--steps", 2, *common, *options)
    assert done.returncode == 0, done.stderr
    trained = read_result(tmp_path / "run/result.json")
    assert trained.training.learning_rate == pytest.approx(0.5 * 2 / 512) and trained.training.partial
    again = call_tool("eval_imagenet.py", config, tmp_path / "run/iter_2.pth", *common, *options)
    assert again.returncode == 0, again.stderr
    assert read_result(tmp_path / "run/eval_iter_2/result.json").metrics == trained.metrics


# Real weights on real pictures: 248 of the 1000 classes, one picture each.


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_real_weights_name_real_pictures(imagenet_mini, tmp_path, backbone):
    package, _ = CATALOGUE[backbone].package
    pytest.importorskip(package)
    run = Options(
        IMAGENET, tmp_path / "run", NO_WORKERS[1:], imagenet_mini, backbone=backbone, allow_partial=True, batch_size=31
    )
    found = evaluate(run, None, pretrained="imagenet", tool="eval_imagenet.py", bootstrap=200)
    assert found.data.images == 248 and found.checkpoint.file == f"package {package} (licence apache-2.0)"
    low, high = found.intervals["top1"]
    assert low < found.metrics["top1"] < high
    assert found.metrics["top1"] >= 86.0 and found.metrics["top5"] >= 96.0
