"""ReXNet's ablations: each changes its own part of the catalogue's network, and claims are judged as stated."""

import numpy as np
import pytest
import torch
from torch import nn

from backbones.catalogue import build_network
from backbones.errors import UserError
from backbones.families.rexnet import SqueezeExcite
from benchmark.experiments import ablations
from benchmark.experiments.ablations import FULL, VARIANTS, build, count, judge, plain_channels
from benchmark.experiments.run import run_experiment
from benchmark.records.verdicts import Verdict


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_classifies(name):
    net = build(name, 7).eval()
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_the_full_form_is_the_catalogues():
    theirs, ours = build_network("rexnet_x1.0", 100), build(FULL, 100)
    assert [tuple(own.shape) for own in ours.parameters()] == [tuple(own.shape) for own in theirs.parameters()]
    theirs.stem.conv.stride = (1, 1)
    with torch.no_grad():
        for mine, own in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.copy_(own.reshape(mine.shape))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-4, atol=1e-5)


def kinds(name: str, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in build(name, 10).modules())


def test_a_variant_changes_its_own_part():
    assert kinds(FULL, SqueezeExcite) == 13 and kinds("no SE", SqueezeExcite) == 0
    assert kinds("ReLU6 only", nn.SiLU) == 0 and kinds("SiLU everywhere", nn.ReLU6) == 0
    assert kinds("ELU", nn.ELU) == kinds(FULL, nn.SiLU) == 17
    skips = {name: sum(block.use_shortcut for block in build(name, 10).body[1:-1]) for name in (FULL, "no skip")}
    assert skips == {FULL: 11, "no skip": 0}


def test_the_plain_form_has_the_multiply_adds_of_mobilenet_v1_and_linear_channels():
    assert count("plain")[1] == pytest.approx(count("MobileNetV1")[1], rel=0.01)
    steps = np.diff(plain_channels())
    assert plain_channels()[0] == 64 and np.ptp(steps) <= 1 and steps.min() > 0
    assert count("MobileNetV1")[1] - 0.1 == pytest.approx(ablations.plain_macs(ablations._V1_CHANNELS) / 1e6, abs=0.01)


def accuracies(**shifts: float) -> dict[str, np.ndarray]:
    seeds = np.array([60.0, 61, 62])
    noise = np.array([0.01, -0.01, 0.02])
    return {name: seeds + noise * place + shifts.get(name, 0) for place, name in enumerate(VARIANTS)}


def test_claims_are_judged_by_pairs_of_seeds():
    lower = {"no SE": -3, "no skip": 3, "ELU": 0.1, "SiLU everywhere": 0.1, "MobileNetV1": -2, "plain, ReLU6": 0}
    found = {claim: verdict for claim, (verdict, _) in judge(accuracies(**lower)).items()}
    assert found.keys() == ablations.CLAIMS.keys()
    assert (found["se"], found["skip"]) == (Verdict.AGREES, Verdict.DISAGREES)
    assert found["elu_similar"] == found["silu_first_is_enough"] == Verdict.AGREES
    assert found["plain_channels"] == found["plain_channels_alone"] == Verdict.AGREES
    assert found["full_over_plain"] == Verdict.CANNOT_TELL
    better = {"ELU": 5, "SiLU everywhere": 5, "x0.9": -1, "x1.3": 1, "x1.5": 2, "x2.0": 3}
    found = {claim: verdict for claim, (verdict, _) in judge(accuracies(**better)).items()}
    assert found["elu_similar"] != Verdict.AGREES and found["silu_first_is_enough"] == Verdict.DISAGREES
    assert found["wider"] == Verdict.AGREES
    few = judge({FULL: np.array([60.0, 61]), "no SE": np.array([50.0, 51])})
    assert few["skip"][0] == Verdict.NOT_TESTED and few["elu_similar"][0] == Verdict.NOT_TESTED
    assert judge({FULL: np.array([60.0]), "no SE": np.array([50.0])})["se"][0] == Verdict.CANNOT_TELL


def test_an_unknown_variant_is_named(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'no SE'"):
        run_experiment("ablations", work_dir=tmp_path / "run", quick=True, settings=["variants=['noSE']"])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_it_runs_end_to_end_on_small_data_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.experiments.run.available_cores", lambda: 0)
    settings = ["train=32", "test=16", "scenes=[8, 8]", "variants=['ReXNet x1.0', 'no SE']"]
    made, folder = run_experiment("ablations", work_dir=tmp_path / "run", quick=True, settings=settings)
    assert made.small_data and all(figure.printed is None for figure in made.figures)
    assert [claim.verdict for claim in made.claims if claim.claim != "se"] == [Verdict.NOT_TESTED] * 9
    assert "no SE" in (folder / "figure.svg").read_text()
