import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from backbones.catalogue import build_network
from backbones.errors import UserError
from backbones.features import Backbone
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.measuring import energy, latency, rounds
from benchmark.measuring.complexity import classifier_complexity, detector_complexity
from benchmark.measuring.folding import fold_batch_norm
from benchmark.measuring.latency import Settings, describe, latency_rows, measure
from benchmark.records.latency import Latency
from benchmark.reporting.paper.ratios import paper_ratios

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
QUICK = Settings(threads=1, runs=3, input=(64, 64))


def with_random_statistics(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
                (module.weight.data, 0.7, 1.3),
                (module.bias.data, -0.2, 0.2),
            ):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return model.eval()


@pytest.mark.parametrize("name", ["rexnet_x1.0", "efficientnet_b0", "mobilenet_v1", "mobilenet_v3_large", "resnet50"])
def test_folded_network_gives_the_same_outputs(name):
    model, images = with_random_statistics(build_network(name)), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        folded, left = fold_batch_norm(model, images)
        after = model(images)
    assert (before - after).abs().max() <= 1e-4 * before.abs().max().clamp(min=1)
    assert folded > 20
    assert left == 0
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("name", ["rexnet_x1.0", "efficientnet_b0"])
def test_folded_backbone_gives_the_same_maps_at_its_taps(name):
    backbone = with_random_statistics(Backbone(name, taps="ssdlite"))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = backbone(images)
        fold_batch_norm(backbone, images)
        after = backbone(images)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-4)


# One of every family with re-parameterised branches, and one of timm's that has no row.
@pytest.mark.parametrize("taps", ["pyramid", "ssdlite"])
@pytest.mark.parametrize(
    "name",
    [
        "fastvit_t8",
        "repvit_m0_9",
        "mobileone_s0",
        "ghostnet_v3_x1.0",
        "repghostnet_x0.5",
        "lcnet_v2_small",
        "repvgg_a0",
        "iformer_t",
        "nextvit_small",
        "timm:repvgg_a1",
    ],
)
def test_a_fused_backbone_gives_the_same_maps_with_fewer_parameters(name, taps):
    backbone, images = with_random_statistics(Backbone(name, taps)), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before, size = backbone(images), sum(p.numel() for p in backbone.parameters())
        after = backbone.fuse()(images)
    assert sum(p.numel() for p in backbone.parameters()) < size
    for old, new in zip(before, after, strict=True):
        assert (old - new).abs().max() <= 1e-5 * old.abs().max()


def test_a_backbone_in_training_is_not_fused():
    with pytest.raises(RuntimeError, match="eval mode"):
        Backbone("lcnet_v2_small").train().fuse()


def timed_params(model: str, **settings) -> int:
    """Parameters of the modules that run while a model is timed."""
    ran: dict[nn.Module, int] = {}
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, output: ran.update({module: sum(p.numel() for p in module.parameters(recurse=False))})
    )
    try:
        (record,) = measure([model], Settings(threads=1, runs=1, input=(64, 64), **settings))
    finally:
        handle.remove()
    assert record.fused
    return sum(ran.values())


def test_what_is_timed_of_a_reparameterised_network_is_the_fused_one():
    name, config = "repghostnet_x0.5", ROOT / "configs" / "ssdlite.py"
    assert timed_params(name) == classifier_complexity(name, 224).params
    cfg = load_config(config, backbone=name)
    complete_model(cfg)
    assert timed_params(str(config), backbone=name) == detector_complexity(cfg).params
    (record,) = measure([name], QUICK)
    assert latency_rows([record])[0]["model"] == "repghostnet_x0.5 (branches merged)"
    assert not measure(["mobilenet_v3_small"], QUICK)[0].fused


def test_norms_without_a_convolution_right_before_are_left():
    model = with_random_statistics(build_network("mixnet_m"))  # its mixed convolutions concatenate
    folded, left = fold_batch_norm(model, torch.randn(1, 3, 64, 64))
    assert folded > 0
    assert left > 0


def test_folding_refuses_a_convolution_whose_output_goes_elsewhere_too():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return self.bn(y) + y

    with pytest.raises(RuntimeError, match="changed an output"):
        fold_batch_norm(with_random_statistics(Forked()), torch.randn(1, 3, 8, 8))


def test_record_holds_what_belongs_to_the_figure():
    (record,) = measure(["mobilenet_v3_small"], Settings(threads=1, runs=4, batch_size=2, input=(64, 96)))
    assert (record.model, record.timed, record.input) == ("mobilenet_v3_small", "classifier", (2, 3, 64, 96))
    assert (record.device, record.threads, record.precision, record.runs) == ("CPU", 1, "fp32", 4)
    assert 0 < record.median_ms <= record.p95_ms
    assert record.images_per_second == pytest.approx(2000 / record.median_ms)
    assert record.ratio is None
    assert record.peak_memory > 50e6  # PyTorch alone takes more
    assert Latency.model_validate_json(record.model_dump_json()) == record


def test_ratio_is_to_the_first_and_finds_the_larger_work():
    small, large = measure(["mobilenet_v3_small", "resnet50"], QUICK)
    assert large.ratio.low <= large.ratio.median <= large.ratio.high
    assert large.ratio.median > 1.5
    assert small.peak_memory is None  # the process's memory is no figure of one of two models


def test_models_take_turns(monkeypatch):
    order = []

    def build(name):
        model = build_network(name)
        model.register_forward_pre_hook(lambda module, args: order.append(type(module).__name__))
        return model

    monkeypatch.setattr(latency, "build_network", build)
    measure(["mobilenet_v3_small", "rexnet_x1.0"], QUICK)
    rounds = order[-2 * QUICK.runs :]
    assert rounds == ["MobileNetV3", "ReXNet"] * QUICK.runs


def test_threads_are_set_back():
    before = torch.get_num_threads()
    measure(["mobilenet_v3_small"], Settings(threads=1, runs=1, input=(32, 32)))
    assert torch.get_num_threads() == before


def test_input_is_the_models_own_by_default():
    settings = Settings(threads=1, runs=1, fold_bn=True, precision="bf16")
    config = str(ROOT / "configs" / "ssdlite_mobilenet_v2.py")
    network, classifier = measure([config, "efficientnet_b1"], settings)
    assert (network.model, network.timed, network.input) == ("ssdlite_mobilenet_v2", "network", (1, 3, 320, 320))
    assert (classifier.timed, classifier.input) == ("classifier", (1, 3, 240, 240))
    assert network.norms_folded > 50
    assert "without box decoding and NMS" in describe([network, classifier])


@pytest.mark.slow
def test_two_stage_network_runs():
    config = str(ROOT / "configs" / "faster_rcnn.py")
    (record,) = measure([config], Settings(threads=1, runs=1, input=(128, 128), backbone="mobilenet_v2"))
    assert (record.timed, record.input) == ("network", (1, 3, 128, 128))


def test_prediction_includes_postprocessing():
    config = str(ROOT / "configs" / "ssdlite_mobilenet_v2.py")
    (record,) = measure([config], Settings(threads=1, runs=1, with_postprocessing=True))
    assert record.timed == "prediction"
    assert "with box decoding and NMS" in describe([record])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(precision="fp16"), "fp16 needs a GPU"),
        (Settings(runs=0), "--runs takes a number from 1, found 0"),
        (Settings(batch_size=-1), "--batch-size takes a number from 1"),
        (Settings(slow_ok=True), "--slow-ok is for --precision bf16"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(UserError, match=message):
        measure(["mobilenet_v3_small"], settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_missing_gpu_is_said():
    with pytest.raises(UserError, match="no GPU"):
        measure(["mobilenet_v3_small"], Settings(device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_memory_is_each_models_own():
    small, large = measure(["mobilenet_v3_small", "resnet50"], Settings(device="cuda", batch_size=8, runs=3))
    assert 5e6 < small.peak_memory < large.peak_memory


def test_table_5_pairs_by_accuracy_beside_the_papers_ratios(monkeypatch):
    monkeypatch.setattr(latency, "build_network", lambda name: nn.Conv2d(3, 4, 3))
    measured = paper_ratios(Settings(threads=1, runs=1, input=(32, 32)))
    assert len(measured.latencies) == len(latency_rows(measured.latencies)) == 9
    expected = [("B0", "x0.9", "1.04"), ("B0", "x1.0", "1.00"), ("B1", "x1.3", "1.27"), ("B2", "x1.5", "1.31")]
    expected.append(("B3", "x2.0", "1.45"))  # the text of section 5.1 says about 1.4
    assert [(pair.pair, str(pair.printed)) for pair in measured.pairs] == [
        (f"EfficientNet-{efficientnet} / ReXNet {rexnet}", ratio) for efficientnet, rexnet, ratio in expected
    ]
    assert all((pair.device, pair.batch) == ("CPU", 1) for pair in measured.pairs)


def make_zone(root: Path, name: str, energy_uj: int) -> Path:
    zone = root / name
    zone.mkdir()
    (zone / "energy_uj").write_text(f"{energy_uj}\n")
    (zone / "max_energy_range_uj").write_text("999999\n")
    return zone


def test_rapl_adds_packages_and_survives_a_wrap(tmp_path):
    first, second = make_zone(tmp_path, "intel-rapl:0", 100_000), make_zone(tmp_path, "intel-rapl:1", 900_000)
    core = make_zone(tmp_path, "intel-rapl:0:0", 0)  # part of package 0

    def work() -> None:
        for zone, reading in ((first, 400_000), (second, 100_000), (core, 500_000)):
            (zone / "energy_uj").write_text(str(reading))

    assert energy.rapl_joules(work, tmp_path) == pytest.approx(0.3 + 0.2)


def test_no_counter_gives_no_energy(tmp_path):
    assert energy.rapl_joules(lambda: None, tmp_path) is None


def test_tool_prints_json_records(monkeypatch, capsys):
    options = ["--input", "64", "--threads", "1", "--runs", "2", "--batch-size", "1", "2", "--json"]
    monkeypatch.setattr(sys, "argv", ["latency.py", "mobilenet_v3_small", *options])
    runpy.run_path(str(ROOT / "tools" / "latency.py"), run_name="__main__")
    records = [Latency.model_validate(record) for record in json.loads(capsys.readouterr().out)["latencies"]]
    assert [record.input for record in records] == [(1, 3, 64, 64), (2, 3, 64, 64)]


def test_unknown_model_is_refused():
    with pytest.raises(UserError, match=r"Unknown backbone 'rexnet_x1\.7'"):
        measure(["mobilenet_v3_small", "rexnet_x1.7"], QUICK)


def test_warm_up_ends_at_its_cap_and_says_so(monkeypatch):
    monkeypatch.setattr(rounds, "STABLE_CHANGE", 0.0)
    (record,) = measure(["mobilenet_v3_small"], Settings(threads=1, runs=1, input=(32, 32)))
    assert (record.warm_up, record.stable) == (50, False)
    assert "the machine is busy" in describe([record])


def test_help_needs_no_heavy_import():
    script = (
        "import runpy, sys\n"
        "sys.argv = ['latency.py', '--help']\n"
        "try:\n    runpy.run_path('tools/latency.py', run_name='__main__')\n"
        "except SystemExit:\n    print([name for name in ('torch', 'mmdet') if name in sys.modules])"
    )
    tool = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert tool.stdout.splitlines()[-1] == "[]"
