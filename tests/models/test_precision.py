"""A precision that this machine is slow in is refused, with the way out."""

import pytest

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.inference.predict import predict
from benchmark.measuring.latency import Settings, measure
from benchmark.models import precision
from benchmark.models.precision import check_speed
from benchmark.training.plan import plan_training


@pytest.fixture
def without_bf16(monkeypatch):
    """A CPU without instructions for bf16."""
    monkeypatch.setattr(precision, "_is_bf16_fast", lambda: False)


def test_slow_bf16_is_refused_with_the_way_out(without_bf16):
    with pytest.raises(UserError, match=r"no instructions for bf16.*--slow-ok.*fp32"):
        check_speed("bf16", slow_ok=False, device="cpu")
    check_speed("bf16", slow_ok=True, device="cpu")
    check_speed("fp32", slow_ok=False, device="cpu")


def test_slow_ok_alone_does_nothing_and_is_refused():
    with pytest.raises(UserError, match=r"--slow-ok is for --precision bf16"):
        check_speed("fp32", slow_ok=True, device="cpu")


def test_fast_bf16_is_accepted(monkeypatch):
    monkeypatch.setattr(precision, "_is_bf16_fast", lambda: True)
    check_speed("bf16", slow_ok=False, device="cpu")


@pytest.mark.parametrize(("changes", "words"), [({"precision": "bf16"}, "bf16"), ({"slow_ok": True}, "--slow-ok")])
def test_a_training_is_refused_before_its_folder_is_made(without_bf16, demo_data, tmp_path, changes, words):
    options = Options(
        CONFIGS / "ssdlite_rexnet_x1.0.py", work_dir=tmp_path / "run", data_root=demo_data, demo=True, **changes
    )
    with pytest.raises(UserError, match=words):
        plan_training(options)
    assert not (tmp_path / "run").exists()


def test_so_are_a_prediction_and_a_measurement(without_bf16, demo_data, tmp_path):
    with pytest.raises(UserError, match=r"no instructions for bf16.*--slow-ok"):
        measure(["mobilenet_v3_small"], Settings(precision="bf16"))
    options = Options(CONFIGS / "ssdlite_rexnet_x1.0.py", demo=True, precision="bf16")
    with pytest.raises(UserError, match=r"no instructions for bf16.*--slow-ok"):
        predict(
            options, tmp_path / "none.pth", [demo_data / "val2017"], tmp_path / "out", score_threshold=0.3, device="cpu"
        )
    assert not (tmp_path / "out").exists()
