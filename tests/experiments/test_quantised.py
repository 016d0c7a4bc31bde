"""What INT8 costs designs: claims judged as stated, paired over pictures, and end to end on a small network."""

import os

import numpy as np
import pytest

from benchmark.experiments import quantised
from benchmark.experiments.quantised import ARMS, CLAIMS, DESIGNS, drops, estimate, judge
from benchmark.inference.quantise.arithmetic import LIMIT
from benchmark.measuring.machine import processor_flags
from benchmark.records.verdicts import Verdict

RESAMPLES = 300


def networks(*, rexnet: float, saturating: float, fixed: float, ratio: float = 1.5, noise: float = 0.1):
    """Networks at AP 30 that drop by 0.1 where nothing saturates, ReXNet by something else."""
    generator = np.random.default_rng(0)
    pictures = generator.normal(0, 2, 1 + RESAMPLES) * (np.arange(1 + RESAMPLES) > 0)  # common to all, as pictures are

    def around(value: float) -> np.ndarray:
        return value + pictures + generator.normal(0, noise, 1 + RESAMPLES) * (np.arange(1 + RESAMPLES) > 0)

    found = {}
    for name in DESIGNS:
        own = rexnet if name == "rexnet_x1.0" else 0.1
        lost = dict.fromkeys(ARMS, own) | {
            "OpenVINO without VNNI, 8 bits": saturating,
            "OpenVINO without VNNI, 7 bits (fix)": fixed,
        }
        found[name] = {arm: around(30 - lost[arm]) for arm in ARMS}
        found[name] |= {f"{runtime} float": around(30) for runtime in ("onnx", "openvino", "openvino limited")}
        found[name] |= {f"{runtime} ratio": np.full(20, ratio) for runtime in ("onnx", "openvino")}
        found[name] |= {f"{runtime} ms": np.array([30.0, 20.0]) for runtime in ("onnx", "openvino")}
    return found


def verdicts(**changes) -> dict[str, Verdict]:
    return {claim: verdict for claim, (verdict, _) in judge(networks(**changes)).items()}


def test_claims_are_judged_as_stated():
    found = verdicts(rexnet=2.0, saturating=3.0, fixed=0.1)
    assert found.keys() == CLAIMS.keys() and set(found.values()) == {Verdict.AGREES}
    assert verdicts(rexnet=-2.0, saturating=0.1, fixed=2.0, ratio=0.9) == dict.fromkeys(CLAIMS, Verdict.DISAGREES)
    unsure = verdicts(rexnet=0.1, saturating=0.6, fixed=0.5, noise=2.0)
    assert unsure["rexnet_quantises_worse"] is Verdict.CANNOT_TELL
    assert unsure["saturation_costs"] is not Verdict.AGREES


def test_networks_that_have_nothing_to_lose_say_nothing_of_losses():
    found = networks(rexnet=2.0, saturating=3.0, fixed=0.1)

    def untrain(*names: str) -> dict:
        return {
            name: values | {"onnx float": values["onnx float"] - 26} if name in names else values
            for name, values in found.items()
        }

    whole, judged = judge(found), judge(untrain("mobilenet_v2"))
    assert {verdict for verdict, _ in judged.values()} == {Verdict.AGREES}
    assert judged["fix_suffices"][1].endswith(" Without mobilenet_v2, under 5 AP in float32.")
    assert judged["fix_suffices"][1].partition(" Without")[0] != whole["fix_suffices"][1]
    for names in (("rexnet_x1.0",), tuple(found)[:4]):
        judged = judge(untrain(*names))
        assert judged.pop("faster")[0] is Verdict.AGREES
        assert {verdict for verdict, _ in judged.values()} == {Verdict.CANNOT_TELL} and len(judged) == 3
        assert f"only {8 - len(names)} of 8 networks reach 5 AP" in judged["fix_suffices"][1]


def test_intervals_are_paired_over_pictures_and_reflected():
    own = drops(networks(rexnet=0.1, saturating=1.0, fixed=0.1), "OpenVINO, 8 bits")["mobilenet_v2"]
    value, (low, high) = estimate(own)
    assert value == pytest.approx(0.1) and high - low < 1  # what pictures have in common is gone
    value, ends = estimate(np.array([1.0, 1.0, 1.0, 3.0]))
    assert value == 1.0 and ends[1] == pytest.approx(1.0) and ends[0] < 0


def test_without_runs_that_saturate_nothing_is_said_of_them():
    found = {
        name: {key: value for key, value in values.items() if "without VNNI" not in key}
        for name, values in networks(rexnet=0.1, saturating=1.0, fixed=0.1).items()
    }
    assert judge(found).keys() == {"rexnet_quantises_worse", "faster"}
    assert {series.group for series in quantised._series(found)} == {"VNNI or exact", "speed"}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_it_trains_quantises_and_times_a_network(tmp_path):
    from benchmark.experiments.run import run_experiment

    settings = ("backbones=['mobilenet_v3_small']", "steps=2", "side=64", "rounds=1", "train_images=20", "val_images=4")
    made, folder = run_experiment("quantised", work_dir=tmp_path / "run", quick=True, settings=settings)
    values = {figure.name: figure for figure in made.figures}
    changes = [name for name in values if "change by" in name]
    assert len(changes) == (5 if processor_flags() else 3)
    assert all(values[name].interval for name in changes)
    assert values["mobilenet_v3_small (other): OpenVINO, INT8"].value > 0
    assert "generated pictures" in made.title and (folder / "figure.svg").is_file()
    assert LIMIT not in os.environ
