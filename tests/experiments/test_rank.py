"""Random layers: their ranks are what algebra says, and the observations are judged as stated."""

import numpy as np
import pytest
import torch

from benchmark.experiments import rank
from benchmark.experiments.rank import (
    BASELINE,
    EFFECTIVE,
    NONLINEARITIES,
    OWN,
    STRUCTURES,
    judge_differences,
    keys,
    measure_features,
    random_features,
)
from benchmark.records.verdicts import Verdict

TOLERANCES = [1e-4, 1e-2]
TINY = {**rank.CONFIG, "tolerances": TOLERANCES, "networks": 4, "networks_per_unit": 4, "d_out": [10, 20]}


def features(structure: str, d_in: int, d_out: int, columns: int = 60) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return random_features(STRUCTURES[structure], d_in, d_out, columns, 6, generator)


@pytest.mark.parametrize(
    ("structure", "expected"),
    [("1x1", 3), ("3x3", 27), ("inverted 3x3", 18 + 3), ("inverted 3x3 depthwise", 18 + 3)],
)
def test_without_a_nonlinearity_the_rank_is_that_of_the_weights(structure, expected):
    found = features(structure, 3, 30)[BASELINE]
    assert found.shape == (30, 60)
    assert torch.linalg.matrix_rank(found) == expected


def test_a_block_adds_its_input_to_the_first_channels():
    # Batch normalisation leaves no mean; what is left of it is the input's own.
    found = features("inverted 3x3", 4, 12)["ReLU"]
    means = found.mean(1).abs()
    assert (means[:4] > 1e-3).all() and (means[4:] < 1e-5).all()


@pytest.mark.parametrize("name", [name for name in NONLINEARITIES if name != BASELINE])
def test_every_nonlinearity_is_applied_to_the_same_numbers(name):
    found = features("1x1", 4, 12)
    torch.testing.assert_close(found[name], NONLINEARITIES[name](found[BASELINE]))


def test_ratios_are_those_of_numpys_svd():
    found = list(features("1x1", 3, 12, 24).values())
    ratios = measure_features(found, TOLERANCES)
    for at, matrix in enumerate(found):
        for centred in (False, True):
            full = matrix.double().numpy()
            own = full - full.mean(1, keepdims=True) if centred else full
            values = np.linalg.svd(own, compute_uv=False)
            expected = [(values > tolerance * values[0]).sum() / 12 for tolerance in TOLERANCES]
            np.testing.assert_allclose(ratios[at, int(centred), 1:3], expected)
            share = values / values.sum()
            effective = np.exp(-(share * np.log(share)).sum()) / 12
            assert ratios[at, int(centred), keys(TOLERANCES).index(EFFECTIVE)] == pytest.approx(effective, rel=1e-4)


def test_a_unit_is_the_same_wherever_it_is_done():
    unit = {"structure": "inverted 3x3", "ratio": 0.3, "first": 1, "count": 2, "config": TINY}
    together = rank.work(unit)["ratios"]
    apart = [rank.work({**unit, "first": first, "count": 1})["ratios"] for first in (1, 2)]
    np.testing.assert_array_equal(together, np.concatenate(apart))
    assert together.shape == (2, 8, 2, len(keys(TOLERANCES)))


def test_differences_are_judged_by_their_least():
    noise = np.random.default_rng(0).normal(0, 0.01, (50, 3))
    assert judge_differences(noise + np.array([0.1, 0.2, 0.3]))[0] == Verdict.AGREES
    verdict, least, (low, high) = judge_differences(noise + np.array([0.1, 0.2, -0.3]))
    assert verdict == Verdict.NEAR and low < least < high < -0.2
    assert judge_differences(noise * 0)[0] == Verdict.DISAGREES  # no difference at all
    assert judge_differences(noise + np.array([0.1, 0.1, 0.01]))[0] == Verdict.CANNOT_TELL


@pytest.fixture
def made_up() -> np.ndarray:
    """Rank ratios that are as the paper says: (structure, ratio, network, nonlinearity, mean or not, measure)."""
    config = {**TINY, "ratios": [0.1, 0.5, 0.9, 1.0]}
    structures, ratios = len(STRUCTURES), np.array(config["ratios"])
    low = np.array([0.0, 0.0, 0.2, 0.3, 0.2, 0.3])  # what expansion costs, by structure
    values = np.zeros((structures, 4, 5, len(NONLINEARITIES), 2, len(keys(TOLERANCES))))
    values += ratios[None, :, None, None, None, None]
    gain = 0.6 * (1 - ratios)[None, :] - low[:, None] * (1.1 - ratios)[None, :]
    extra = np.array([0 if name == BASELINE else 1.2 if name in rank.COMPLICATED else 1 for name in NONLINEARITIES])
    return values + gain[:, :, None, None, None, None] * extra[None, None, None, :, None, None]


def test_what_is_as_the_paper_says_agrees(made_up):
    verdicts, figures = rank.judge(made_up, {**TINY, "ratios": [0.1, 0.5, 0.9, 1.0]})
    assert {claim: verdict for claim, (verdict, _) in verdicts.items()} == dict.fromkeys(rank.CLAIMS, Verdict.AGREES)
    assert len(figures) == len(rank.CLAIMS) * 2 * 2 * len(keys(TOLERANCES))


def test_a_claim_that_fails_under_one_measure_holds_in_part(made_up):
    at = keys(TOLERANCES).index(OWN)
    made_up[..., at] = 1.0
    verdicts, _ = rank.judge(made_up, {**TINY, "ratios": [0.1, 0.5, 0.9, 1.0]})
    verdict, evidence = verdicts["expansion_harms"]
    assert verdict == Verdict.NEAR and f"disagrees under {OWN}" in evidence and "tolerance 0.0001 to 0.01" in evidence
