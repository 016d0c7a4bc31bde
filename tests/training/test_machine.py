"""What a training asks of the C library and of OpenMP."""

import os
import subprocess
import sys

import pytest
from helpers import REPOSITORY

from benchmark.tasks import TASKS

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
    assert {name for name, task in TASKS.items() if task.fixed_shapes} == {"ssdlite", "finegrained"}
