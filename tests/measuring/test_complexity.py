"""Params and multiply-adds: against the paper's tables, and an independent count."""

import pytest
import torch
from helpers import REPOSITORY, build_detector, call_tool, small_config
from torch import nn

from backbones.errors import UserError
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.measuring.complexity import classifier_complexity, count_macs, detector_complexity
from benchmark.models.build import build_skeleton
from benchmark.reporting.paper.counts import compare_complexity

pytestmark = pytest.mark.slow


def test_table_6_agrees_to_its_printed_digits():
    verdicts = {c.row["backbone"]: c.verdict for c in compare_complexity(6)}
    looser = {"mobilenet_v3_large", "mnasnet_a1"}  # the paper quotes both
    assert verdicts == {name: "within 5%" if name in looser else "yes" for name in verdicts}
    assert len(verdicts) == 10


def test_an_unknown_table_is_named():
    with pytest.raises(UserError, match="no table 3"):
        compare_complexity(3)


def test_parts_add_up_to_the_model():
    cfg = small_config()
    complexity = detector_complexity(cfg)
    model = build_detector(cfg)
    assert complexity.params == sum(p.numel() for p in model.parameters())
    assert complexity.macs == _conv_macs(model, torch.zeros(1, 3, 320, 320))


def _conv_macs(model: nn.Module, image: torch.Tensor) -> int:
    """Count convolutions by hand: outputs x kernel x input channels a group."""
    total = 0

    def count(module: nn.Conv2d, args: tuple, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        model.eval()._forward(image)
    return total


def test_multiply_adds_of_a_matrix_product():
    macs, value = count_macs(lambda: torch.ones(3, 5) @ torch.ones(5, 7))
    assert macs == 3 * 5 * 7
    assert value.shape == (3, 7)


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("rexnet_x1.0", 4.80, 0.398), ("rexnet_x2.0", 16.37, 1.529), ("efficientnet_b0", 5.29, 0.386)],
)
def test_classifiers(name, params, macs):
    found = classifier_complexity(name, 224)
    assert found.params / 1e6 == pytest.approx(params, abs=0.005)
    assert found.macs / 1e9 == pytest.approx(macs, abs=0.001)


def test_reparameterised_networks_are_counted_as_their_papers_count_them():
    found = classifier_complexity("mobileone_s0", 224)
    assert (found.params, found.fused) == (2_078_504, True)  # unfused: 5.29M and 1.05B
    assert found.macs / 1e9 == pytest.approx(0.275, abs=0.001)
    assert not classifier_complexity("mobilenet_v3_small", 224).fused


def test_a_detector_is_counted_with_its_branches_merged():
    cfg = load_config(CONFIGS / "ssdlite.py", backbone="mobileone_s0")
    complete_model(cfg)
    complexity = detector_complexity(cfg)
    assert complexity.fused
    assert complexity.parts["backbone"].params < 2_078_504 - 1_024_000  # without the classifier
    trained = sum(p.numel() for p in build_skeleton(cfg).backbone.parameters())
    assert trained > 4e6


def test_the_tool_prints_a_configs_parts():
    run = call_tool("complexity.py", REPOSITORY / "configs/ssdlite_mobilenet_v2.py")
    assert run.returncode == 0, run.stderr
    assert "4.343" in run.stdout
    assert "backbone params" in run.stdout
