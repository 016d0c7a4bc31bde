"""Ctrl-C in the first seconds of a tool, while it imports PyTorch and MMDetection."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import REPOSITORY


def wait_for(process: subprocess.Popen, library: str, seconds: float = 60) -> None:
    """Wait until a process has loaded a shared library."""
    end = time.monotonic() + seconds
    while library not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["_struct", "libtorch", "cv2"])
def test_an_interrupt_during_the_imports_is_a_line(library, tmp_path):
    command = [sys.executable, "tools/train.py", "configs/ssdlite_rexnet_x1.0.py", "--work-dir", str(tmp_path / "run")]
    command += ["--demo", "--data-root", str(tmp_path / "data"), "--cfg-options", "train_images=2", "val_images=1"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    wait_for(process, library)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "Interrupted.\n")


def test_an_interrupt_that_an_import_would_swallow_ends_the_tool(tmp_path):
    """Python ignores what is raised in the callback of a weak reference, and imports have such callbacks."""
    (tmp_path / "swallows.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    pass\n"
    )
    code = "from benchmark.cli import run\ndef main():\n    import swallows\n    print('went on')\nrun(main)\n"
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, '.']\n{code}"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")
