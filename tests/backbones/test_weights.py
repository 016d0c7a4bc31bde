import importlib
import importlib.util
import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from mmengine.logging import HistoryBuffer, MMLogger
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2

from backbones.catalogue import CATALOGUE, build_network, find_entry, preprocessing
from backbones.errors import UserError
from backbones.families.rexnet import linear_channels
from backbones.features import Backbone
from backbones.tensors import file_sha256
from backbones.weights import load_pretrained

pytestmark = pytest.mark.slow

SMALL = "mobilenet_v3_small"
# ImageNet's indices for COCO's categories; ImageNet-1k has no giraffe.
IMAGENET_INDICES = {"zebra": {340}, "elephant": {101, 385, 386}, "pizza": {963}}


def images(count: int = 1, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def meta_network(name: str, **kwargs) -> nn.Module:
    with torch.device("meta"):
        return build_network(name, **kwargs)


def load(net: nn.Module, name: str, source: object) -> nn.Module:
    """Load into a whole network."""
    load_pretrained(net, name, str(source))
    return net


def snapshot(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def assert_same_tensors(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Every tensor of ours equals theirs of the same name."""
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key


def assert_same_logits(ours: nn.Module, theirs: nn.Module) -> None:
    with torch.no_grad():
        expected = theirs.eval()(images())
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours.eval()(images()), expected, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def source(randomise) -> nn.Module:
    return randomise(build_network(SMALL)).eval()


@pytest.fixture
def messages(caplog) -> pytest.LogCaptureFixture:
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


# --- files of our own and timm's layout ---


WRAPPINGS = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "args": {"lr": 0.1}},
    "state_dict_ema": lambda state: {
        "state_dict": {key: torch.zeros_like(value) for key, value in state.items()},
        "state_dict_ema": state,
    },
    # in another order, so that names alone can tell what is what
    "module": lambda state: {f"module.{key}": value for key, value in reversed(state.items())},
    "classifier": lambda state: {"state_dict": {f"backbone.{key}": value for key, value in reversed(state.items())}},
    "detector": lambda state: {
        "state_dict": {
            **{f"backbone.net.{key}": value for key, value in state.items()},
            "neck.extra_layers.0.0.0.weight": torch.zeros(3),
            "bbox_head.cls_convs.0.bias": torch.zeros(3),
        },
        # what MMEngine saves beside the weights
        "message_hub": {"log_scalars": {"train/loss": HistoryBuffer([1.0, 2.0], [1, 1])}},
    },
    "distributed detector": lambda state: {
        **{f"module.backbone.net.{key}": value for key, value in state.items()},
        "module.neck.extra_layers.0.0.0.weight": torch.zeros(3),
    },
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_pth_file_fills_the_backbone(wrapping, source, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(WRAPPINGS[wrapping](source.state_dict()), path)
    backbone = Backbone(SMALL, "ssdlite", pretrained=str(path)).eval()
    backbone.init_weights()
    assert_same_tensors(backbone.net.state_dict(), source.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(backbone(images())[-1], source.forward_features(images()))


def test_a_safetensors_file_fills_the_network(source, tmp_path):
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    net = load(build_network(SMALL), SMALL, tmp_path / "weights.safetensors")
    assert_same_logits(net, source)


def test_the_part_that_a_detector_trained_fills_a_detector(source, tmp_path, randomise):
    """The checkpoint of a pyramid lacks what runs after C5, which SSDLite needs."""
    trained = randomise(Backbone("mobilenet_v2", "pyramid"))
    torch.save({f"backbone.{key}": value for key, value in trained.state_dict().items()}, tmp_path / "det.pth")
    again = Backbone("mobilenet_v2", "pyramid", pretrained=str(tmp_path / "det.pth"))
    again.init_weights()
    assert_same_tensors(again.state_dict(), trained.state_dict())
    ssdlite = Backbone("mobilenet_v2", "ssdlite", pretrained=str(tmp_path / "det.pth"))
    with pytest.raises(UserError, match=r"missing \(first: conv_head\.weight, bn2\.weight"):
        ssdlite.init_weights()


@pytest.mark.parametrize("width", [1.0, 1.3])
def test_timms_rexnet_file_fills_ours(width, tmp_path, randomise):
    theirs = randomise(timm.create_model({1.0: "rexnet_100", 1.3: "rexnet_130"}[width]))
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    assert_same_logits(load(build_network(f"rexnet_x{width}"), f"rexnet_x{width}", tmp_path / "timm.pth"), theirs)


# --- the ReXNet authors' layout (github.com/clovaai/rexnet): names by position, a 1x1 convolution as classifier ---


def conv_bn(in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


class AuthorsSE(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 12
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(self.avg_pool(x))


class AuthorsBlock(nn.Module):
    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int, se: bool) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.use_shortcut = stride == 1 and in_channels <= channels
        hidden = in_channels * expansion
        out = [*conv_bn(in_channels, hidden), nn.SiLU()] if expansion != 1 else []
        out += conv_bn(hidden, hidden, 3, stride, groups=hidden)
        out += [AuthorsSE(hidden)] if se else []
        self.out = nn.Sequential(*out, nn.ReLU6(), *conv_bn(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        out = self.out(x)
        if self.use_shortcut:
            out[:, : self.in_channels] += x
        return out


class AuthorsReXNet(nn.Module):
    def __init__(self, width: float, classes: int = 1000) -> None:
        super().__init__()
        channels = [round(32 * max(width, 1.0)), *linear_channels(width)]
        strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
        features = [*conv_bn(3, channels[0], 3, 2), nn.SiLU()]
        for index, stride in enumerate(strides):
            expansion = 1 if index == 0 else 6
            features.append(AuthorsBlock(channels[index], channels[index + 1], expansion, stride, se=index >= 3))
        last = int(1280 * width)
        self.features = nn.Sequential(*features, *conv_bn(channels[-1], last), nn.SiLU(), nn.AdaptiveAvgPool2d(1))
        self.output = nn.Sequential(nn.Dropout(0.2), nn.Conv2d(last, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x)).flatten(1)


@pytest.mark.parametrize("width", [0.9, 1.0])
def test_the_authors_rexnet_file_fills_ours(width, tmp_path, randomise):
    authors = randomise(AuthorsReXNet(width))
    assert {"features.0.weight", "features.6.out.5.fc.3.bias", "output.1.weight"} <= authors.state_dict().keys()
    torch.save(authors.state_dict(), tmp_path / "rexnetv1.pth")
    name = f"rexnet_x{width}"
    assert_same_logits(load(build_network(name), name, tmp_path / "rexnetv1.pth"), authors)


def test_the_authors_file_of_another_width_is_refused(tmp_path):
    torch.save(AuthorsReXNet(0.9).state_dict(), tmp_path / "rexnetv1_0.9.pth")
    with pytest.raises(UserError, match=r"rexnetv1_0\.9\.pth into rexnet_x1\.0: .* missing .* unexpected"):
        load(build_network("rexnet_x1.0"), "rexnet_x1.0", tmp_path / "rexnetv1_0.9.pth")


# --- other authors' layouts: tensors in the order of ours, under the names of their code ---


def authors_rexnet_lite(state: dict) -> dict:
    """Return a state of ReXNet-lite under the names of clovaai/rexnet's rexnetv1_lite.py."""
    layers = {"conv": 0, "bn": 1}
    places = {"pre_logits": 0, "expand": 0, "depthwise": 3, "project": 6}
    renamed = {}
    for key, value in state.items():
        module, kind = key.rsplit(".", 1)
        parts = module.split(".")
        if parts[0] == "stem":
            name = f"features.{layers[parts[1]]}"
        elif parts[0] == "pre_logits":
            name = f"output.{layers[parts[1]]}"
        elif parts[0] == "head":
            name, value = "output.4", value[:, :, None, None] if kind == "weight" else value
        elif len(parts) == 3:  # the last convolution
            name = f"features.{int(parts[1]) + 3 + layers[parts[2]]}"
        else:
            shift = 3 if parts[1] == "0" else 0  # the first block does not expand
            name = f"features.{int(parts[1]) + 3}.out.{places[parts[2]] - shift + layers[parts[3]]}"
        renamed[f"{name}.{kind}"] = value
    return renamed


@pytest.mark.parametrize("width", ["1.0", "2.0"])
def test_the_authors_rexnet_lite_file_fills_ours(width, tmp_path, randomise):
    name = f"rexnet_lite_x{width}"
    source = randomise(build_network(name))
    theirs = authors_rexnet_lite(source.state_dict())
    assert {"features.0.weight", "features.3.out.4.bias", "features.18.out.7.weight", "output.4.bias"} <= theirs.keys()
    assert "features.20.running_var" in theirs and theirs["output.4.weight"].shape == (1000, 1024, 1, 1)
    torch.save(theirs, tmp_path / "rexnet_lite.pth")
    assert_same_logits(load(build_network(name), name, tmp_path / "rexnet_lite.pth"), source)


class AuthorsUnitV1(nn.Module):
    """A unit with the names, and the shuffle, of megvii-model/ShuffleNet-Series."""

    def __init__(self, inputs: int, outputs: int, groups: int, first_groups: int, stride: int) -> None:
        super().__init__()
        inner, self.groups, self.stride = outputs // 4, groups, stride
        last = outputs - (inputs if stride == 2 else 0)
        self.branch_main_1 = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, groups=first_groups, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
        )
        self.branch_main_2 = nn.Sequential(nn.Conv2d(inner, last, 1, groups=groups, bias=False), nn.BatchNorm2d(last))

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch_main_1(x)
        order = [place for group in range(self.groups) for place in range(group, out.shape[1], self.groups)]
        out = self.branch_main_2(out[:, order])
        if self.stride == 1:
            return (x + out).relu()
        return torch.cat([nn.functional.avg_pool2d(x, 3, 2, 1), out.relu()], 1)


class AuthorsShuffleNetV1(nn.Module):
    def __init__(self, groups: int, stem: int, stages: tuple[int, int, int]) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.features, inputs = nn.Sequential(), stem
        for outputs, repeats in zip(stages, (4, 8, 4), strict=True):
            for place in range(repeats):
                first = 1 if len(self.features) == 0 else groups
                self.features.append(AuthorsUnitV1(inputs, outputs, groups, first, 1 if place else 2))
                inputs = outputs
        self.classifier = nn.Sequential(nn.Linear(inputs, 1000, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.first_conv(x), 3, 2, 1)
        return self.classifier(self.features(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "groups", "stem", "stages"),
    [
        ("shufflenet_v1_g3_x0.5", 3, 12, (120, 240, 480)),
        ("shufflenet_v1_g3_x1.0", 3, 24, (240, 480, 960)),
        ("shufflenet_v1_g8_x1.0", 8, 24, (384, 768, 1536)),
    ],
)
def test_the_authors_shufflenet_v1_file_fills_ours(name, groups, stem, stages, tmp_path, randomise):
    """As it is downloaded, from DataParallel; with the paper's order of the shuffle it would fit and err."""
    authors = randomise(AuthorsShuffleNetV1(groups, stem, stages))
    state = {f"module.{key}": value for key, value in authors.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "shufflenet_v1.pth")
    assert_same_logits(load(build_network(name), name, tmp_path / "shufflenet_v1.pth"), authors)


# --- 'imagenet' ---


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Path:
    """Stand in for Hugging Face's hub: what is in this folder is downloaded into a cache laid out as the real one."""
    served, cache = tmp_path / "hub", tmp_path / "cache"

    def download(repository: str, file: str) -> str:
        source = served / repository / file
        if not (served / repository).is_dir():
            raise ConnectionError("no route to host")
        if not source.is_file():
            raise EntryNotFoundError(file)
        folder = cache / f"models--{repository.replace('/', '--')}"
        blob, link = folder / "blobs" / file_sha256(source), folder / "snapshots" / "0123abc" / file
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            blob.write_bytes(source.read_bytes())
            link.symlink_to(blob)
        return str(link)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return served


def serve(hub: Path, net: nn.Module, file: str = "model.safetensors") -> Path:
    """Put a network's weights where the hub has those of its kind."""
    path = hub / net.pretrained_cfg["hf_hub_id"] / file
    path.parent.mkdir(parents=True)
    save_file(net.state_dict(), path) if file.endswith(".safetensors") else torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_imagenet_comes_from_timms_hub_with_its_licence(file, hub, randomise, messages):
    theirs = randomise(timm.create_model("rexnet_100"), seed=7)
    serve(hub, theirs, file)
    backbone = Backbone("rexnet_x1.0", "pyramid", pretrained="imagenet")
    backbone.init_weights()
    assert_same_tensors(backbone.net.state_dict(), theirs.state_dict())
    assert "timm rexnet_100 (licence mit) into rexnet_x1.0" in messages.text
    assert_same_logits(load(build_network("rexnet_x1.0"), "rexnet_x1.0", "imagenet"), theirs)


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("convnext_v2_atto", "licence cc-by-nc-4.0, not for commercial use"),
        ("fastvit_t8", "licence fastvit-license, Apple's own"),
        ("mobileone_s1", "licence mobileone-license, Apple's own"),
        ("mobilevit_xxs", "licence cvnets-license, Apple's own"),
        ("timm:fastvit_mci0", "licence apple-amlr, Apple's own"),
        ("timm:dla46_c", "licence bsd-3-clause"),
    ],
)
def test_weights_that_are_downloaded_come_with_what_to_know_of_their_licence(name, licence, hub, messages):
    model = find_entry(name).timm
    serve(hub, timm.create_model(model))
    load(build_network(name), name, "imagenet")
    assert f"timm {model} ({licence}) into {name}" in messages.text


def test_timm_renames_the_keys_of_the_authors_file(hub, randomise):
    theirs = randomise(timm.create_model("convnext_atto"), seed=7)
    renames = {
        r"^head\.norm": "norm",
        r"^head\.fc": "head",
        r"^stem": "downsample_layers.0",
        r"^stages\.(\d)\.downsample": r"downsample_layers.\1",
        r"^stages\.(\d)\.blocks": r"stages.\1",
        "conv_dw": "dwconv",
        r"mlp\.fc": "pwconv",
    }
    state = theirs.state_dict()
    for ours, authors in renames.items():
        state = {re.sub(ours, authors, key): value for key, value in state.items()}
    save_file(state, serve(hub, theirs))
    assert_same_logits(load(build_network("timm:convnext_atto"), "timm:convnext_atto", "imagenet"), theirs)


def flip_a_bit(path: Path, at: float = 0.9) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1
    path.write_bytes(content)


def test_a_damaged_download_of_the_hub_is_refused(hub, randomise):
    serve(hub, randomise(timm.create_model("mobilenetv3_small_100")))
    load(build_network(SMALL), SMALL, "imagenet")
    link = Path(huggingface_hub.hf_hub_download(build_network(SMALL).pretrained_cfg["hf_hub_id"], "model.safetensors"))
    flip_a_bit(link)
    with pytest.raises(UserError, match=rf"begins with {link.resolve().name}.*Remove {link.resolve()} and fetch"):
        load(build_network(SMALL), SMALL, "imagenet")


def test_a_hub_out_of_reach_is_a_user_error(hub):
    net = build_network("mobilenet_v2")
    message = r"Could not download the weights of mobilenet_v2 from timm/mobilenetv2_100\S* \(ConnectionError: no route"
    with pytest.raises(UserError, match=message):
        load(net, "mobilenet_v2", "imagenet")


def test_a_backbone_without_known_weights_is_a_user_error(hub):
    for name in ("rexnet_x0.9", "efficientnet_b7"):
        with pytest.raises(UserError, match=f"No ImageNet weights are known for {name}"):
            load(meta_network(name), name, "imagenet")


@pytest.fixture
def linked(monkeypatch, tmp_path) -> Callable[[Path], str]:
    """Function that gives a backbone's entry the URL of a file, which torch.hub downloads into a cache of the test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def link(path: Path) -> str:
        monkeypatch.setitem(CATALOGUE, SMALL, replace(find_entry(SMALL), timm=None, url=path.as_uri(), licence="mit"))
        return path.as_uri()

    return link


@pytest.fixture
def named_file(source, tmp_path) -> Path:
    """Weights named after their SHA-256."""
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    return (tmp_path / "weights.pth").rename(tmp_path / f"net-{file_sha256(tmp_path / 'weights.pth')[:8]}.pth")


def test_imagenet_comes_from_a_url(linked, named_file, source, messages):
    url = linked(named_file)
    assert_same_logits(load(build_network(SMALL), SMALL, "imagenet"), source)
    assert f"{url} (licence mit) into {SMALL}" in messages.text
    named_file.unlink()  # the cache has it
    load(build_network(SMALL), SMALL, "imagenet")


def test_a_damaged_download_of_a_url_is_refused_and_not_kept(linked, named_file):
    linked(named_file)
    whole = named_file.read_bytes()
    flip_a_bit(named_file)
    with pytest.raises(UserError, match=r"Could not download the weights of .* \(RuntimeError: invalid hash value"):
        load(build_network(SMALL), SMALL, "imagenet")
    named_file.write_bytes(whole)
    load(build_network(SMALL), SMALL, "imagenet")


def test_a_download_that_was_damaged_later_is_refused(linked, named_file):
    linked(named_file)
    load(build_network(SMALL), SMALL, "imagenet")
    cached = Path(torch.hub.get_dir(), "checkpoints", named_file.name)
    flip_a_bit(cached)
    with pytest.raises(UserError, match=f"begins with .* it is damaged. Remove {cached} and fetch"):
        load(build_network(SMALL), SMALL, "imagenet")


@pytest.fixture(scope="module")
def lite0_file() -> Path:
    package, file = find_entry("efficientnet_lite0").package
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the optional package {package} is not installed")
    return Path(importlib.import_module(package).__file__).parent / file


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_weights_of_a_package_come_with_the_packages_licence(name, messages):
    package, _ = find_entry(name).package
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the optional package {package} is not installed")
    load(build_network(name), name, "imagenet")
    assert f"package {package} (licence apache-2.0) into {name}" in messages.text
    (text,) = (file.read_text() for file in distribution(package).files if file.name == "LICENSE")
    assert "Licensed under the Apache License, Version 2.0" in text


def test_the_installed_package_serves_efficientnet_lite0(lite0_file, hub):
    theirs = [
        value
        for key, value in torch.load(lite0_file, weights_only=True).items()
        if not key.endswith("num_batches_tracked")
    ]
    net = load(build_network("efficientnet_lite0"), "efficientnet_lite0", "imagenet")
    ours = {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert len(ours) == len(theirs)
    for (key, our_tensor), their_tensor in zip(ours.items(), theirs, strict=True):
        assert torch.equal(our_tensor, their_tensor), key


# --- the classifier ---


def test_a_classifier_of_other_classes_is_left_out_and_said(source, tmp_path, messages):
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    net = build_network(SMALL, num_classes=12)
    before = snapshot(net)
    load(net, SMALL, tmp_path / "weights.pth")
    state = net.state_dict()
    for key, value in state.items():
        assert torch.equal(value, before[key] if key.startswith("classifier.") else source.state_dict()[key]), key
    assert "classifier left out (classifier.bias, classifier.weight)" in messages.text


def test_a_classifier_of_the_same_classes_is_kept(source, tmp_path, messages):
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    assert_same_logits(load(build_network(SMALL), SMALL, tmp_path / "weights.pth"), source)
    assert "weights.pth into mobilenet_v3_small" in messages.text
    assert "left out" not in messages.text


def test_a_file_without_a_classifier_fits(tmp_path, messages, randomise):
    headless = {key: value for key, value in AuthorsReXNet(1.0).state_dict().items() if not key.startswith("output")}
    torch.save(headless, tmp_path / "weights.pth")
    load(build_network("rexnet_x1.0"), "rexnet_x1.0", tmp_path / "weights.pth")
    assert "classifier left out (head.fc.bias, head.fc.weight)" in messages.text


# --- files that do not fit ---


def without_stem(state: dict) -> dict:
    return {key: value for key, value in state.items() if key not in ("conv_stem.weight", "bn1.bias")}


def with_more(state: dict) -> dict:
    return {**state, "blocks.9.conv.weight": torch.zeros(1), "aux.weight": torch.zeros(1)}


def misshapen(state: dict) -> dict:
    return {**state, "conv_stem.weight": torch.zeros(32, 3, 3, 3)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_stem, r"2 missing \(first: conv_stem\.weight, bn1\.bias\)"),
        (with_more, r"2 unexpected \(first: blocks\.9\.conv\.weight, aux\.weight\)"),
        (misshapen, r"1 of another shape \(first: conv_stem\.weight \(32, 3, 3, 3\) for \(16, 3, 3, 3\)\)"),
    ],
)
def test_keys_that_do_not_fit_are_named_and_nothing_is_loaded(change, message, source, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(change(source.state_dict()), path)
    net = build_network(SMALL)
    before = snapshot(net)
    with pytest.raises(UserError, match=rf"weights\.pth into mobilenet_v3_small: {message}"):
        load(net, SMALL, path)
    assert_same_tensors(net.state_dict(), before)


def test_weights_that_are_not_finite_are_refused(source, tmp_path):
    state = {key: value.clone() for key, value in source.state_dict().items()}
    state["bn1.running_var"][3] = float("inf")
    torch.save(state, tmp_path / "weights.pth")
    net = build_network(SMALL)
    before = snapshot(net)
    with pytest.raises(UserError, match=r"weights\.pth for mobilenet_v3_small are not finite: bn1\.running_var holds"):
        load(net, SMALL, tmp_path / "weights.pth")
    assert_same_tensors(net.state_dict(), before)


def test_another_backbones_file_is_refused(tmp_path):
    torch.save(build_network("mobilenet_v2").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"missing.*unexpected.*of another shape"):
        load(build_network(SMALL), SMALL, tmp_path / "weights.pth")


# --- files that are none: what the reader refuses is tested in test_tensors ---


@pytest.mark.parametrize("name", ["absent.pth", "", "folder"])
def test_an_absent_file_is_a_user_error(name, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"Weights not found: .*Give an existing \.pth or \.safetensors file"):
        load(meta_network(SMALL), SMALL, tmp_path / name)


# --- real weights on real pictures ---


def pictures_dominated_by(folder: Path, names: set[str], share: float) -> list[tuple[Path, str]]:
    """Return (picture, category) where an object of these categories covers more than a share with its box."""
    found = []
    for split in ("train2017", "val2017"):
        data = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
        category = {entry["id"]: entry["name"] for entry in data["categories"]}
        objects = defaultdict(list)
        for annotation in data["annotations"]:
            if not annotation["iscrowd"] and category[annotation["category_id"]] in names:
                objects[annotation["image_id"]].append(annotation)
        for image in data["images"]:
            largest = max(objects[image["id"]], key=lambda o: o["bbox"][2] * o["bbox"][3], default=None)
            if largest and largest["bbox"][2] * largest["bbox"][3] > share * image["width"] * image["height"]:
                found.append((folder / split / image["file_name"], category[largest["category_id"]]))
    return found


def test_real_weights_name_what_real_pictures_show(coco_mini, lite0_file):
    pictures = pictures_dominated_by(coco_mini, set(IMAGENET_INDICES), share=0.25)
    assert len(pictures) == 7
    record = preprocessing("efficientnet_lite0")
    transform = v2.Compose(
        [
            v2.Resize(256, InterpolationMode(record.interpolation), antialias=True),
            v2.CenterCrop(224),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(record.mean, record.std),
        ]
    )
    net = load(build_network("efficientnet_lite0"), "efficientnet_lite0", "imagenet").eval()
    batch = torch.stack([transform(Image.open(path).convert("RGB")) for path, _ in pictures])
    with torch.no_grad():
        top5 = net(batch).topk(5).indices.tolist()
    right = [bool(IMAGENET_INDICES[name] & set(guesses)) for (_, name), guesses in zip(pictures, top5, strict=True)]
    assert sum(right) >= 5, list(zip(pictures, top5, strict=True))
