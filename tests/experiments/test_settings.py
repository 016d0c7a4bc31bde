"""``--set``: another setting of the same kind, or a line that says what is expected."""

import pytest

from backbones.errors import UserError
from benchmark.experiments.run import run_experiment
from benchmark.experiments.settings import apply_settings

CONFIG = {"epochs": 3, "tolerance": 0.05, "searches": ["a"], "scenes": [4, 2], "weights": {"a": "none"}, "seed": 0}
SETTABLE = ("epochs", "tolerance", "searches", "scenes", "weights")


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("epochs=7", "epochs", 7),
        ("tolerance=1", "tolerance", 1),
        ("searches=['b', 'c']", "searches", ["b", "c"]),
        ("weights={'a': 'file'}", "weights", {"a": "file"}),
    ],
)
def test_a_setting_takes_the_place_of_the_configs(setting, key, value):
    assert apply_settings(CONFIG, [setting], SETTABLE, "rank") == {**CONFIG, key: value}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["epochs"], "KEY=VALUE"),
        (["epoch=3"], "Did you mean 'epochs'"),
        (["seed=3"], "no 'seed' that can be set"),
        (["epochs=3", "epochs=4"], "twice"),
        *((["epochs=" + value], "whole number from 1") for value in ("0", "-1", "1.5", "True", "x", "10000000", "")),
        *((["tolerance=" + value], "number from 0") for value in ("-1", "nan", "1e999", "'x'")),
        *((["searches=" + value], "list that is not empty") for value in ("a", "[]", "[1]", "[None]")),
        *((["weights=" + value], "texts by name") for value in ("{}", "{'a': 1}", "[1]")),
    ],
)
def test_what_is_no_setting_is_named(settings, words):
    with pytest.raises(UserError, match=words):
        apply_settings(CONFIG, settings, SETTABLE, "rank")


def test_an_experiment_without_settings_says_so(tmp_path):
    with pytest.raises(UserError, match="None of its settings can be"):
        run_experiment("rank", work_dir=tmp_path / "run", settings=["networks=3"])
