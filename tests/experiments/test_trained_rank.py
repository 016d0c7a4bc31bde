"""Rank of trained networks: correlations as stated, singular values of real pictures, end to end on small data."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import linalg, stats

from backbones.catalogue import build_network, find_entry
from backbones.errors import UserError
from benchmark.experiments import searched, trained_rank
from benchmark.experiments.run import run_experiment
from benchmark.experiments.trained_rank import MOBILENET, REXNET, measure_spectrum, read_pictures
from benchmark.records.verdicts import Verdict

CONFIG = {**searched.CONFIG, "models": 30}


def made(nuclear_tells: float, seed: int = 0) -> dict[str, searched.Searched]:
    """Models under two constraints whose accuracy follows the nuclear norm and the multiply-adds."""
    generator, found = np.random.default_rng(seed), {}
    for search in ("18-30", "18-70"):
        models = searched.draw_models(search, CONFIG)
        noise = {name: generator.normal(size=(len(models), 2)) for name in searched.FIGURES}
        level = float(search[-2:]) / 10  # the constraint's multiply-adds
        norm = level + noise["nuclear"][:, :1] + 0 * noise["nuclear"]
        accuracy = level + nuclear_tells * noise["nuclear"][:, :1] + 0.1 * noise["top1"]
        found[search] = searched.Searched(models, {**noise, "nuclear": norm, "top1": accuracy})
    return found


def verdicts(found: dict[str, searched.Searched]) -> dict[str, Verdict]:
    table = {
        name: np.concatenate([trained_rank._predictor(own, name) for own in found.values()])
        for name in trained_rank.PREDICTORS
    }
    accuracy = np.concatenate([own.figures["top1"].mean(1) for own in found.values()])
    correlated = {
        name: trained_rank._correlate(own, accuracy, trained_rank.controls(found)) for name, own in table.items()
    }
    judged = trained_rank._judge(found, table, accuracy, correlated)
    assert correlated["nuclear"]["Kendall"][0] == pytest.approx(stats.kendalltau(table["nuclear"], accuracy).statistic)
    return {claim: verdict for claim, (verdict, _) in judged.items()}


@pytest.mark.slow
def test_what_the_multiply_adds_explain_is_not_the_norms_own():
    tells = verdicts(made(nuclear_tells=1.0))
    assert tells["higher_norm"] == tells["within_constraint"] == tells["given_macs"] == Verdict.AGREES
    # Norm and accuracy both rise with the multiply-adds and have nothing else in common.
    cost_alone = verdicts(made(nuclear_tells=0.0))
    assert cost_alone["higher_norm"] == Verdict.AGREES
    assert cost_alone["given_macs"] != Verdict.AGREES and cost_alone["within_constraint"] != Verdict.AGREES


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of real files: six generated pictures, in two folders."""
    root, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(6):
        place = root / f"class{number % 2}"
        place.mkdir(exist_ok=True)
        array = generator.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
        Image.fromarray(array).save(place / f"{number}.{'png' if number % 2 else 'jpg'}")
    (root / "notes.txt").write_text("no picture")
    return root


def test_singular_values_are_of_the_networks_last_features(pictures):
    unit = {"backbone": "mobilenet_v3_small", "weights": "none", "pictures": str(pictures), "draws": 5}
    found = measure_spectrum(unit)
    torch.manual_seed(0)
    net = build_network("mobilenet_v3_small").eval()
    images = read_pictures(trained_rank.list_pictures(pictures), find_entry("mobilenet_v3_small").preprocessing, 224)
    with torch.no_grad():
        features = net.forward_features(images).mean((2, 3)).double().numpy()
    np.testing.assert_allclose(found["values"], linalg.svdvals(features), rtol=1e-4)
    np.testing.assert_allclose(found["centred"][:5], linalg.svdvals(features - features.mean(0))[:5], rtol=1e-3)
    assert found["draws"].shape == (5, 3) and str(found["origin"]) == "random weights" and found["count"] == 6


def test_pictures_are_prepared_as_their_weights_want_them(tmp_path):
    Image.new("RGB", (300, 200), (255, 0, 128)).save(tmp_path / "a.png")
    how = find_entry("mobilenet_v2").preprocessing
    (found,) = read_pictures([tmp_path / "a.png"], how, 64)
    assert found.shape == (3, 64, 64)
    expected = (np.array([1, 0, 128 / 255]) - how.mean) / how.std
    np.testing.assert_allclose(found.mean((1, 2)).numpy(), expected, rtol=1e-4)


def spectra(origins: tuple[str, str], larger: float) -> dict:
    generator = np.random.default_rng(0)
    return {
        name: {"draws": np.sort(generator.uniform(0, top, (40, 9)))[:, ::-1] + [[1] + [0] * 8], "origin": origin}
        for name, origin, top in zip((MOBILENET, REXNET), origins, (0.5, larger), strict=True)
    }


def test_networks_that_nobody_has_trained_decide_nothing():
    judge = trained_rank._judge_spectra
    assert judge({})[0] == Verdict.NOT_TESTED
    assert judge(spectra(("timm x", "random weights"), 0.9))[0] == Verdict.NOT_TESTED
    assert judge(spectra(("timm x", "a file"), 4.0))[0] == Verdict.AGREES
    assert judge(spectra(("timm x", "a file"), 0.1))[0] == Verdict.DISAGREES
    assert "a file" in judge(spectra(("timm x", "a file"), 4.0))[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["pictures=absent"], "at least four"),
        (["weights={'mobilenet_v2': 'imagenet'}"], "changes nothing without pictures"),
        (["searches=['x']"], "No search 'x'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(tmp_path, settings, words):
    with pytest.raises(UserError, match=words):
        run_experiment("trained_rank", work_dir=tmp_path / "run", quick=True, settings=settings)
    assert not (tmp_path / "run").exists()


def test_an_unknown_network_and_a_damaged_picture_are_named(tmp_path, pictures):
    settings = [f"pictures={pictures}", "weights={'rexnet': 'none'}"]
    with pytest.raises(UserError, match="Unknown backbone 'rexnet'"):
        run_experiment("trained_rank", work_dir=tmp_path / "run", quick=True, settings=settings)
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(UserError, match=r"a\.png is no picture"):
        read_pictures([tmp_path / "a.png"], find_entry("mobilenet_v2").preprocessing, 64)


@pytest.mark.slow
def test_it_runs_end_to_end_on_small_data_and_says_whose_weights(tmp_path, monkeypatch, pictures):
    monkeypatch.setattr("benchmark.experiments.run.available_cores", lambda: 0)
    settings = ["models=4", "trainings=1", "train=24", "test=24", "scenes=[8, 8]", f"pictures={pictures}", "draws=4"]
    settings.append("weights={'mobilenet_v3_small': 'none', 'rexnet_x0.9': 'none'}")
    made, folder = run_experiment("trained_rank", work_dir=tmp_path / "run", quick=True, settings=settings)
    assert made.small_data and {claim.claim for claim in made.claims} == set(trained_rank.CLAIMS)
    assert made.claims[-1].verdict == Verdict.NOT_TESTED
    svg = (folder / "figure.svg").read_text()
    assert "rexnet_x0.9, random weights" in svg and "no reproduction" in svg
    assert sum(figure.name.startswith("Spearman of") for figure in made.figures) == 6
