"""Which evaluation of a training counts as its best follows the direction of the figure that ranks."""

from types import SimpleNamespace

import pytest

from benchmark.records.figures import FIGURES, Figure
from benchmark.tasks import TASKS, Task
from benchmark.training.saving import AtomicCheckpointHook


@pytest.mark.parametrize(("end", "saved"), [("high", [1, 3]), ("low", [1, 2])])
def test_the_best_weights_are_those_of_the_better_end(monkeypatch, tmp_path, end, saved):
    monkeypatch.setitem(FIGURES, "toy", Figure("toy", "toy", "toy", best=end))
    monkeypatch.setitem(
        TASKS, "toy", Task("classifier", "Toys", "eval_finegrained.py", ("toy",), "toys", "demo/detection.py")
    )
    iterations, memory = [], {}
    monkeypatch.setattr(AtomicCheckpointHook, "_write", lambda self, runner, path, done: iterations.append(done))
    runner = SimpleNamespace(
        cfg=SimpleNamespace(task="toy"),
        work_dir=str(tmp_path),
        is_training=True,
        message_hub=SimpleNamespace(get_info=memory.get, update_info=memory.__setitem__),
        logger=SimpleNamespace(info=lambda text: None),
    )
    hook = AtomicCheckpointHook(1)
    for runner.iter, value in enumerate((2.0, 1.0, 3.0, None, 2.5), 1):
        hook.after_val_epoch(runner, {"toy": value})
    assert iterations == saved
