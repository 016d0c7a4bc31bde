"""What a training asks of the C library and of OpenMP."""

import os
import subprocess
import sys

import pytest
from helpers import REPOSITORY, SMALL, call_tool

from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.tasks import TASKS
from benchmark.training import machine, train
from benchmark.training.runner import BenchmarkRunner

# Page faults of the second time that as much memory is taken, written and freed.
FAULTS = """
import ctypes, resource
from benchmark.training.machine import keep_memory
if {keep}:
    assert keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def take():
    block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t({size})))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    ctypes.memset(block, 1, {size})
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
take()
print(take())
"""
POLICY = """
import os, sys
from benchmark.training import machine, train
assert "torch" not in sys.modules
machine.let_threads_sleep()
print(os.environ.get("GOMP_SPINCOUNT"))
"""


def fresh(script: str, **environment: str) -> str:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "OMP_", "GOMP_", "GLIBC_"))
    }
    environment = {**clean, "PYTHONPATH": str(REPOSITORY), **environment}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


@pytest.mark.parametrize("size", [2**20, 2**27])  # below and above what glibc can be told to map by itself
def test_freed_memory_is_kept(size):
    given_back, kept = (int(fresh(FAULTS.format(keep=keep, size=size))) for keep in (False, True))
    assert kept < 10 < given_back


def test_threads_sleep_unless_the_environment_says_otherwise():
    assert fresh(POLICY) == "1000"
    assert fresh(POLICY, OMP_WAIT_POLICY="active") == "None"
    assert fresh(POLICY, GOMP_SPINCOUNT="7") == "7"


def test_the_tasks_on_fixed_shapes():
    assert {name for name, task in TASKS.items() if task.fixed_shapes} == {"ssdlite", "finegrained", "imagenet"}


@pytest.mark.parametrize(("config", "keeps"), [("ssdlite_rexnet_x1.0.py", True), ("faster_rcnn_rexnet_x1.0.py", False)])
def test_a_training_keeps_memory_where_shapes_are_fixed(config, keeps, demo_data, tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(train, "keep_memory", lambda: called.append("keep"))
    monkeypatch.setattr(BenchmarkRunner, "train", lambda runner: called.append("train"))
    monkeypatch.setattr("benchmark.training.outcome.finish", lambda *args, **options: called.append("finish"))
    monkeypatch.setattr(train, "_training_record", lambda *args: None)
    sizes = [f"{split}_images={count}" for split, count in (("train", 16), ("val", 6))]
    small = SMALL if keeps else []
    options = Options(CONFIGS / config, tmp_path, [*small, *sizes], data_root=demo_data, demo=True)
    train.train(options, pretrained="none")
    assert called == [*(["keep"] if keeps else []), "train", "finish"]


def test_the_tool_lets_threads_sleep_before_all_else(monkeypatch):
    called = []
    monkeypatch.setattr(machine, "let_threads_sleep", lambda: called.append("sleep"))
    assert call_tool("train.py", "nothing.py").returncode != 0
    assert called == ["sleep"]
