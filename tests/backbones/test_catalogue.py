import importlib
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import timm
import torch
from helpers import sampled

from backbones import families
from backbones.catalogue import (
    CATALOGUE,
    build_network,
    find_entry,
    list_backbones,
    preprocessing,
    read_families,
)
from backbones.entry import Preprocessing
from backbones.errors import UserError
from backbones.weights import load_pretrained
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.models.build import build_model, register_models


def meta_network(name: str, num_classes: int) -> torch.nn.Module:
    with torch.device("meta"):
        return build_network(name, num_classes)


# --- entries ---


@pytest.mark.parametrize("name", sampled(list_backbones()))
def test_every_network_classifies_with_the_dropout_asked_for(name):
    with torch.device("meta"):
        entry = find_entry(name)
        net = entry.build(num_classes=7, drop_rate=0.125).eval()
        assert net(torch.zeros(1, 3, entry.resolution, entry.resolution)).shape == (1, 7)
    drops = {module.p for module in net.modules() if isinstance(module, torch.nn.Dropout)}
    assert 0.125 in drops | {getattr(net, "drop_rate", None)}


@pytest.mark.parametrize(
    "name",
    ["rexnet_x1.0", "rexnet_x3.0", "efficientnet_b1", "efficientnet_lite0", "fbnet_c", "resnet50", "timm:resnet18"],
)
def test_preprocessing_and_licence_are_those_of_timms_record(name):
    entry = find_entry(name)
    record = timm.get_pretrained_cfg(entry.timm)
    expected = Preprocessing(tuple(record.mean), tuple(record.std), record.interpolation, record.crop_pct)
    assert preprocessing(name) == entry.preprocessing == expected
    assert entry.licence == record.license


def test_an_entry_does_not_contradict_itself():
    entry = find_entry("resnet50")
    for change in ({"channels": None}, {"ssdlite": None}, {"why_not": "it is"}, {"channels": None, "ssdlite": None}):
        with pytest.raises(ValueError, match="channels and ssdlite, or neither and the reason"):
            replace(entry, **change)
    replace(entry, channels=None, ssdlite=None, why_not="it is a test")


# --- timm:<model> ---


def test_a_model_without_a_pyramid_classifies_and_says_why_it_can_do_no_more():
    entry = find_entry("timm:vit_tiny_patch16_224")
    assert (entry.channels, entry.ssdlite) == (None, None)
    assert entry.why_not.startswith("it has no feature map at stride 4")
    net = meta_network("timm:vit_tiny_patch16_224", 7).eval()
    assert net(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 7)


def test_a_model_of_a_fixed_size_classifies_at_its_own():
    entry = find_entry("timm:deit_base_patch16_384")
    assert entry.resolution == 384
    assert entry.why_not


def test_a_model_whose_maps_are_exact_on_squares_alone_is_refused():
    entry = find_entry("timm:mobilevitv2_050")
    assert entry.channels is None
    expected = "its map at stride 32 is (1, 256, 14, 20), expected (1, 256, 13, 19) (N, C, H, W)"
    assert entry.why_not == f"on a 416x608 image {expected}"


def test_a_model_bound_to_one_size_is_refused():
    assert find_entry("timm:efficientformerv2_s0").why_not.startswith("on a 320x320 image it fails (RuntimeError")
    assert find_entry("efficientformer_v2_s0").why_not == "its attention is bound to images of 224x224 pixels"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rexnet_1.0", r"Unknown backbone 'rexnet_1\.0'\. Did you mean 'rexnet_x1\.0'\?"),
        ("timm:resnet_18", r"timm \S+ has no model 'resnet_18'\. Did you mean 'resnet18'\?"),
        ("timm:resnet18.nonsense", r"timm \S+ cannot build 'resnet18\.nonsense': Invalid pretrained tag"),
    ],
)
@pytest.mark.parametrize("look_up", [find_entry, build_network, preprocessing])
def test_unknown_names_are_user_errors(look_up, name, message):
    with pytest.raises(UserError, match=message):
        look_up(name)


# --- families ---

TOY = '''
"""A toy family: five convolutions."""

from functools import partial

import torch
from torch import nn

from backbones.entry import Entry, Preprocessing


class Toy(nn.Module):
    def __init__(self, width, num_classes, drop_rate):
        super().__init__()
        channels = [3, *(width * 2**level for level in range(5))]
        pairs = zip(channels[:-1], channels[1:])
        self.stages = nn.Sequential(*(nn.Conv2d(i, o, 3, 2, 1) for i, o in pairs))
        self.last = nn.Conv2d(channels[-1], 64, 1)
        self.fc = nn.Sequential(nn.Dropout(drop_rate), nn.Linear(64, num_classes))
        self.feature_info = [
            {"num_chs": channels[level + 1], "reduction": 2 ** (level + 1), "module": f"stages.{level}"}
            for level in range(5)
        ]

    def forward_features(self, x):
        return self.last(self.stages(x))

    def forward(self, x):
        return self.fc(self.forward_features(x).mean((2, 3)))


def row(width):
    channels = tuple(width * 2**level for level in range(5))
    return Entry(partial(Toy, width), "nobody", channels, (("stages.3", channels[3]), ("last", 64)),
                 preprocessing=Preprocessing(mean=(0.1, 0.2, 0.3)))


ROWS = {"toy_x1.0": row(4), "toy_x2.0": row(8)}
'''


@pytest.fixture
def add_family(monkeypatch, tmp_path) -> Callable[[str], None]:
    """Function that puts a file into the package of families and reads all of them anew."""
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])

    def add(text: str) -> None:
        (tmp_path / "toy.py").write_text(text)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, "backbones.families.toy", raising=False)
        for name, entry in read_families().items():
            monkeypatch.setitem(CATALOGUE, name, entry)

    return add


def test_a_family_is_one_file(add_family):
    add_family(TOY)
    assert list_backbones()[-2:] == ["toy_x1.0", "toy_x2.0"]
    assert preprocessing("toy_x2.0").mean == (0.1, 0.2, 0.3)
    for config, shapes in (
        ("ssdlite_rexnet_x1.0", [(1, 64, 20, 20), (1, 64, 10, 10)]),
        ("faster_rcnn_rexnet_x1.0", [(1, 16, 80, 80), (1, 32, 40, 40), (1, 64, 20, 20), (1, 128, 10, 10)]),
    ):
        cfg = load_config(CONFIGS / f"{config}.py", options=["model.backbone.name=toy_x2.0"])
        complete_model(cfg)
        register_models()
        with torch.device("meta"):
            model = build_model(cfg).eval()
            maps = model.backbone(torch.zeros(1, 3, 320, 320))
            outputs = model.bbox_head(model.neck(maps)) if "ssd" in config else model.rpn_head(model.neck(maps))
        assert [tuple(level.shape) for level in maps] == shapes
        assert outputs[0][0].shape[2:] == shapes[0][2:]
        assert not any(name.startswith("backbone.net.fc") for name, _ in model.named_parameters())


def test_a_family_needs_no_word_about_its_classifier(add_family, tmp_path):
    add_family(TOY)
    source, net = build_network("toy_x1.0", 5), build_network("toy_x1.0", 3)
    torch.save(source.state_dict(), tmp_path / "toy.pth")
    before = net.fc[1].weight.clone()
    load_pretrained(net, "toy_x1.0", str(tmp_path / "toy.pth"))
    assert torch.equal(net.last.weight, source.last.weight)
    assert torch.equal(net.fc[1].weight, before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rexnet_x1.0", r"'rexnet_x1\.0' of backbones\.families\.toy has the name of another family's"),
        ("Toy-1", r"'Toy-1' of backbones\.families\.toy: names are like"),
        ("toy_1.0", r"'toy_1\.0' of backbones\.families\.toy: names are like"),
    ],
)
def test_a_name_of_another_family_or_kind_is_refused(name, message, add_family):
    with pytest.raises(ValueError, match=message):
        add_family(TOY.replace("toy_x1.0", name))
