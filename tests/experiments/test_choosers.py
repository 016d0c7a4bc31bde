"""What predicts latency and accuracy: activations by hand, correlations as stated, end to end on small networks."""

import numpy as np
import pytest
import torch
from torch import nn

from backbones.errors import UserError
from benchmark.experiments import choosers
from benchmark.experiments.choosers import CLASSIFIERS, DETECTORS, count_activations, judge, speed_ratios
from benchmark.experiments.frame import Published, Run
from benchmark.records.verdicts import Verdict
from benchmark.reporting.paper.published import read_published


def test_activations_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.Flatten())
    assert count_activations(net.eval(), (1, 3, 8, 8)) == 4 * 4 * 4 + 5 * 4 * 4
    assert not any(module._forward_hooks for module in net.modules())
    with torch.device("meta"):
        assert count_activations(nn.Sequential(nn.Conv2d(3, 2, 1)), (2, 3, 4, 4)) == 2 * 2 * 16


def test_pairs_of_similar_multiply_adds_are_compared_once_and_never_with_themselves():
    rows = np.array([[100, 10, 0], [105, 20, 1], [200, 5, 2], [105, 20, 1]], float)
    assert sorted(speed_ratios(rows)) == pytest.approx([2.0, 2.0])
    assert len(speed_ratios(rows[2:])) == 0


def tables(seed: int = 0) -> dict[str, choosers.Table]:
    """Networks whose time follows their activations, whose accuracy their multiply-adds."""
    generator = np.random.default_rng(seed)
    found = {}
    for figure, networks in ((CLASSIFIERS, 40), (DETECTORS, 30)):
        macs, activations, params = generator.uniform(1, 100, (3, networks))
        time = activations + generator.normal(0, 1, networks)
        found[figure] = {
            "params": params,
            "macs": macs,
            "activations": activations,
            "rank": activations + params,
            "latency": time,
            "time": time if figure == CLASSIFIERS else time + generator.normal(0, 0.5, networks),
            "accuracy": macs + generator.normal(0, 1, networks),
        }
    return found


def test_claims_are_judged_as_stated():
    found = {claim: verdict for claim, (verdict, _) in judge(tables()).items()}
    assert found.keys() == choosers.CLAIMS.keys()
    agreed = ("other_speed", "activations_over_macs", "macs_over_params", "backbone_over_macs")
    assert {found[claim] for claim in agreed} == {Verdict.AGREES}
    assert found["macs_predict_latency"] == found["latency_over_macs"] == Verdict.DISAGREES
    assert found["rank_over_params"] is Verdict.CANNOT_TELL  # neither has to do with it


def test_the_papers_accuracies_are_one_a_backbone_with_their_source():
    found = read_published()
    by_name = {(point.figure, point.backbone): point for point in found}
    assert len(by_name) == len(found)
    b0 = by_name[CLASSIFIERS, "efficientnet_b0"]
    assert (b0.value, b0.source, b0.config) == (77.3, "paper, table 5", "")
    assert by_name[CLASSIFIERS, "mobilenet_v2"].source == "paper, table 4"
    rexnet = by_name[DETECTORS, "rexnet_x1.0"]
    assert (rexnet.value, rexnet.config) == (25.3, "ssdlite_rexnet_x1.0.py")


def test_too_few_points_are_named(tmp_path):
    with pytest.raises(UserError, match="at least three classifiers"):
        choosers.run(Run(tmp_path, choosers.CONFIG, None, 0))


@pytest.mark.slow
def test_it_runs_end_to_end(tmp_path, monkeypatch):
    names = ("mobilenet_v3_small", "mobilenet_v2", "mobilenet_v1")
    detectors = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large")

    def points():
        yield from (Published(name, CLASSIFIERS, 70 + at, "", 224, "a table") for at, name in enumerate(names))
        yield from (
            Published(name, DETECTORS, 20 + at, f"ssdlite_{name}.py", 320, "a table")
            for at, name in enumerate(detectors)
        )

    from benchmark.experiments.run import run_experiment

    made, folder = run_experiment(
        "choosers", work_dir=tmp_path / "run", quick=True, settings=["rounds=1"], published=lambda: list(points())
    )
    values = {figure.name: figure.value for figure in made.figures}
    assert values["ImageNet top-1 | mobilenet_v2: ImageNet top-1 (a table)"] == 71
    assert values["SSDLite AP | mobilenet_v2: latency of the whole network (ms)"] > 0
    assert 1 < values["ImageNet top-1 | mobilenet_v2: rank, untrained"] <= 256  # pictures
    assert values["ImageNet top-1 | mobilenet_v2: params (M)"] == pytest.approx(3.5, abs=0.01)
    assert not made.small_data and "mobilenet_v3_small" in (folder / "figure.svg").read_text()
