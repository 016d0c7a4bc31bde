"""What a run survives: kills at any moment, signals, damaged files, a full disk; and what it refuses."""

import json
import multiprocessing
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from itertools import islice
from pathlib import Path

import kills
import numpy as np
import psutil
import pytest
import torch
from helpers import REPOSITORY, preloaded, started_tool, two_ranks, wait_for
from test_train import options
from torch.utils.data import DataLoader

from backbones.errors import UserError
from benchmark.data.stream import SampleStream
from benchmark.files.checkpoints import load_checkpoint, newest_intact
from benchmark.files.run_folder import list_checkpoints
from benchmark.records.result import read_result
from benchmark.training.processes import follow
from benchmark.training.saving import parse_interval
from benchmark.training.signals import STOPPING, StopSignals, leave_signals_to_the_main_process
from benchmark.training.train import train

pytestmark = pytest.mark.slow

KILLS = {"ssdlite": 3, "mask_rcnn": 2, "finegrained": 2}  # `make kills` has 20
STEPS = 6
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_training_ends_like_one_left_alone(name, tmp_path):
    """Weights, optimizer, schedule and TensorBoard's steps are equal bit for bit, whatever the loaders' number."""
    assert kills.run_process(kills.settings(name, tmp_path / "alone", tmp_path / "data", 0), STEPS) == 0
    kills.train_killed(name, tmp_path / "killed", tmp_path / "data", STEPS, KILLS[name], seed=1)
    assert kills.compare(tmp_path / "killed", tmp_path / "alone") == []
    killed, alone = (read_result(tmp_path / run / "result.json") for run in ("killed", "alone"))
    assert killed.metrics == alone.metrics
    assert killed.config == alone.config
    assert killed.training.iterations == STEPS
    assert not list((tmp_path / "killed").glob(".*.tmp"))


def _train_alone(work_dir: Path, data: Path, rank: dict[str, str]) -> None:
    os.environ.update(rank, TORCHELASTIC_RESTART_COUNT="0")
    os._exit(kills.train_one(work_dir, data, []))


@pytest.mark.parametrize("kill_at", [(3,), pytest.param((3, 6), marks=pytest.mark.long)])
def test_torchrun_resumes_after_a_process_was_killed(tmp_path, kill_at):
    """``--max-restarts`` needs no hand: one of two processes is killed, then the other; both begin anew each time."""
    alone = [
        preloaded().Process(target=_train_alone, args=(tmp_path / "alone", tmp_path / "data", rank))
        for rank in two_ranks()
    ]
    for process in alone:
        process.start()
    for process in alone:
        process.join(120)
    assert [process.exitcode for process in alone] == [0, 0]
    command = [*TORCHRUN, "--nproc_per_node=2", "--max-restarts=2", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=localhost:0", str(REPOSITORY / "dev/kills.py")]
    command += ["--work-dir", str(tmp_path / "killed"), "--data-root", str(tmp_path / "data")]
    path = os.pathsep.join(str(REPOSITORY / folder) for folder in (".", "tests", "dev"))
    run = subprocess.run(
        [*command, "--kill-at", *map(str, kill_at)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert kills.compare(tmp_path / "killed", tmp_path / "alone") == []
    resumed = re.findall(r"resumed epoch: 0, iter: \d+", (tmp_path / "killed/run.log").read_text())
    assert len(resumed) == len(kill_at)
    assert read_result(tmp_path / "killed/result.json").training.world_size == 2


def test_the_survivor_of_a_killed_process_says_so(tmp_path):
    arguments = ["configs/ssdlite.py", "--demo", "--data-root", tmp_path / "data", "--work-dir", tmp_path / "run"]
    arguments += ["--steps", "1000", "--backbone", "mobilenet_v3_small", "--pretrained", "none", "--batch-size", "2"]
    arguments += ["--cfg-options", "train_images=8", "val_images=2", "train_dataloader.num_workers=0"]
    arguments += ["val_dataloader.num_workers=0", "default_hooks.logger.interval=1"]
    outs = [tmp_path / f"{rank}.out" for rank in range(2)]
    ranks = two_ranks()
    with (
        started_tool("train.py", *arguments, out=outs[0], **ranks[0]) as survivor,
        started_tool("train.py", *arguments, out=outs[1], **ranks[1]) as killed,
    ):
        wait_for(outs[0], " 2/1000  loss")
        killed.kill()
        survivor.join(60)
    last = outs[0].with_suffix(".err").read_text().strip().splitlines()[-1]
    assert survivor.exitcode == 1
    assert last.startswith("error: Another process of this training ended") and "--resume continues" in last


def test_a_process_ends_with_the_agent_that_started_it():
    """A process starts one that follows it, and ends; the other's end of a pipe tells of its end."""
    reading, writing = os.pipe()
    agent = os.fork()
    if agent == 0:
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as one that hangs
            follow(os.getppid(), pause=0.01, grace=0.1)
            os.write(writing, b"x")
            time.sleep(60)
        time.sleep(0.3)
        os._exit(0)
    os.close(writing)
    os.waitpid(agent, 0)
    assert os.read(reading, 1) == b"x"
    assert select.select([reading], [], [], 10)[0] and os.read(reading, 1) == b""
    os.close(reading)


@pytest.fixture(scope="module")
def run(demo_data, tmp_path_factory) -> Path:
    """A finished run with three checkpoints."""
    work_dir = tmp_path_factory.mktemp("run")
    train(options(demo_data, work_dir), steps=3, save_interval="1", keep=3)
    return work_dir


def copy(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "copy"))


def test_the_best_weights_are_kept_apart(run, demo_data, tmp_path):
    assert [path.name for path in list_checkpoints(run)] == ["iter_1.pth", "iter_2.pth", "iter_3.pth"]
    assert load_checkpoint(run / "best.pth")["meta"]["iter"] == 3


@pytest.mark.parametrize("damage", ["cut off", "a bit", "empty"])
def test_resuming_falls_back_to_the_newest_intact_checkpoint(run, demo_data, tmp_path, damage):
    folder = copy(run, tmp_path)
    path = folder / "iter_3.pth"
    content = bytearray(path.read_bytes())
    if damage == "a bit":
        content[len(content) // 2] ^= 1
    path.write_bytes({"cut off": content[: len(content) // 2], "a bit": content, "empty": b""}[damage])
    train(options(demo_data, folder), steps=3, resume=True, save_interval="1", keep=3)
    log = (folder / "run.log").read_text()
    assert re.search(r"Skipped: .*iter_3\.pth is not a checkpoint", log)
    assert "resumed epoch: 0, iter: 2" in log
    assert (folder / "iter_3.pth.damaged").is_file()  # nobody's work is thrown away
    assert (
        kills.differences(load_checkpoint(path)["state_dict"], load_checkpoint(run / "iter_3.pth")["state_dict"]) == []
    )


def test_no_damage_goes_unnoticed(run, tmp_path):
    """A flipped bit anywhere is refused, or lies where it changes no number."""
    path = tmp_path / "iter_3.pth"
    whole = (run / "iter_3.pth").read_bytes()
    original = load_checkpoint(run / "iter_3.pth")
    rng = np.random.default_rng(0)
    refused = 0
    places = [*rng.integers(0, len(whole), 25), *rng.integers(len(whole) - 4000, len(whole), 10)]
    for place in places:
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            loaded = load_checkpoint(path)
        except UserError:
            refused += 1
        else:
            assert kills.differences(loaded["state_dict"], original["state_dict"]) == []
    assert refused > len(places) / 2


def test_all_checkpoints_damaged_is_named(run, demo_data, tmp_path):
    folder = copy(run, tmp_path)
    for path in list_checkpoints(folder):
        path.write_bytes(b"PK")
    assert newest_intact(folder)[0] is None
    with pytest.raises(UserError, match=r"Nothing to resume: .*iter_3\.pth is not a checkpoint.*iter_1\.pth"):
        train(options(demo_data, folder), steps=3, resume=True)


def test_resume_auto_begins_where_there_is_nothing_to_resume(run, demo_data, tmp_path):
    """One line in a cluster's script is right the first time, after a kill, and when every checkpoint is damaged."""
    folder = copy(run, tmp_path)
    for path in (*list_checkpoints(folder), folder / "result.json"):
        path.unlink()
    train(options(demo_data, folder), steps=2, resume="auto", save_interval="1", keep=2)  # killed before its first
    (folder / "iter_2.pth").unlink()
    train(options(demo_data, folder), steps=2, resume="auto", save_interval="1", keep=2)
    assert "resumed epoch: 0, iter: 1" in (folder / "run.log").read_text()
    for path in list_checkpoints(folder):
        path.write_bytes(b"PK")
    train(options(demo_data, folder), steps=2, resume="auto")
    assert "No checkpoint is intact: the training begins anew." in (folder / "run.log").read_text()
    assert {path.name for path in folder.glob("*.damaged")} == {"iter_1.pth.damaged", "iter_2.pth.damaged"}


def test_one_flipped_bit_in_the_log_costs_one_record_and_is_said(run, demo_data, tmp_path):
    folder = copy(run, tmp_path)
    before = kills.logged(folder)
    events = max((folder / "vis_data").glob("events*"), key=lambda path: path.stat().st_size)
    content = bytearray(events.read_bytes())
    content[content.index(b"loss_bbox") + 2] ^= 1
    events.write_bytes(content)
    train(options(demo_data, folder), steps=3, resume=True, save_interval="1", keep=3)
    lost = set(before) - set(kills.logged(folder))
    assert [tag for _, tag, _ in lost] == ["loss_bbox"]
    assert re.search(r"is damaged: \d+ bytes of what was logged cannot be read", (folder / "run.log").read_text())
    assert (folder / "vis_data" / f"{events.name}.damaged").read_bytes() == content


def test_another_config_other_data_and_another_seed_are_refused(run, demo_data, tmp_path):
    folder = copy(run, tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"optim_wrapper\.optimizer\.lr: 0\.02 then, 0\.5 now"):
        train(options(demo_data, folder, "optim_wrapper.optimizer.lr=0.5"), steps=3, resume=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with pytest.raises(UserError, match=r"seed: 0 then, 1 now"):
        train(options(demo_data, folder), steps=3, resume=True, seed=1)
    with pytest.raises(UserError, match=r"train_dataloader.batch_size: 4 then, 2 now"):
        train(options(demo_data, folder, batch_size=2), steps=3, resume=True)
    data = Path(shutil.copytree(demo_data, tmp_path / "data"))
    annotations = data / "annotations/instances_train2017.json"
    content = json.loads(annotations.read_text())
    content["annotations"][0]["bbox"][2] -= 1
    annotations.write_text(json.dumps(content))
    with pytest.raises(UserError, match="training data"):
        train(options(data, folder), steps=3, resume=True)
    train(options(data, folder), steps=4, resume_anyway=True)
    assert read_result(folder / "result.json").training.iterations == 4


def test_places_and_process_counts_make_no_other_run(run, demo_data, tmp_path):
    data = Path(shutil.copytree(demo_data, tmp_path / "data"))
    folder = copy(run, tmp_path)
    (folder / "iter_3.pth").unlink()
    train(options(data, folder, "train_dataloader.num_workers=1"), steps=3, resume=True, save_interval="10m", keep=1)
    assert [path.name for path in list_checkpoints(folder)] == ["iter_3.pth"]


def _train_with_little_room(options, bytes_allowed: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is then an error, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_allowed, bytes_allowed))
    try:
        train(options, steps=3, resume=True, save_interval="1", keep=3)
    except UserError as error:
        print(error, file=(options.work_dir / "error.txt").open("w"), flush=True)
        os._exit(1)
    os._exit(0)


def test_a_full_disk_leaves_the_last_checkpoint(run, demo_data, tmp_path):
    folder = copy(run, tmp_path)
    (folder / "iter_3.pth").unlink()
    size = (folder / "iter_2.pth").stat().st_size
    process = preloaded().Process(target=_train_with_little_room, args=(options(demo_data, folder), size // 2))
    process.start()
    process.join(120)
    assert process.exitcode == 1
    assert re.search(r"Could not write .*iter_3\.pth.*intact: make room", (folder / "error.txt").read_text())
    assert newest_intact(folder) == (folder / "iter_2.pth", [])
    assert not list(folder.glob(".*.tmp"))


def test_a_folder_that_cannot_be_written_is_named(demo_data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Folder .*file/run cannot be made: .*file is a file"):
        train(options(demo_data, tmp_path / "file/run"), steps=1)


def test_a_disk_without_room_for_the_checkpoints_is_named_before_training(demo_data, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 10_000_000))
    with pytest.raises(UserError, match=r"Too little room for checkpoints: 0\.\d+ GB needed, 0\.01 GB free"):
        train(options(demo_data, tmp_path), steps=1)
    assert not list_checkpoints(tmp_path)


def test_what_was_noticed_before_a_run_stands_in_its_log(demo_data, tmp_path):
    train(options(demo_data, tmp_path, "auto_scale_lr.enable=False", batch_size=2), steps=1)
    assert (tmp_path / "run.log").read_text().count("belongs to batch 4 and is not scaled to batch 2") == 1


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_saves_and_ends_with_its_status(demo_data, tmp_path, number):
    chosen = options(demo_data, tmp_path, "train_dataloader.num_workers=1")
    arguments = [chosen.config, "--demo", "--steps", 5000, "--work-dir", tmp_path, "--data-root", demo_data]
    arguments += ["--batch-size", 2, "--save-interval", "60m", "--cfg-options", *chosen.cfg_options]
    with started_tool("train.py", *arguments, out=tmp_path / "printed.txt") as process:
        wait_for(tmp_path / "run.log", "train    2/5000")
        os.killpg(process.pid, number)  # the data-loading processes too, as a terminal and Slurm do
        process.join(60)
    errors = (tmp_path / "printed.err").read_text()
    assert process.exitcode == 128 + number, errors
    assert re.search(r"^Stopped at iteration \d+ of 5000, saved; --resume continues\.$", errors, re.MULTILINE), errors
    assert "Traceback" not in errors
    (checkpoint,) = list_checkpoints(tmp_path)
    assert load_checkpoint(checkpoint)["meta"]["iter"] == int(checkpoint.stem.removeprefix("iter_"))


def test_signals_are_noted_and_given_back():
    before = signal.getsignal(signal.SIGUSR1)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) == before


def _idle() -> None:
    leave_signals_to_the_main_process()
    time.sleep(60)


def test_a_loading_process_ends_with_its_parent_only():
    process = multiprocessing.get_context("fork").Process(target=_idle)
    process.start()
    time.sleep(0.3)
    for number in STOPPING:
        subprocess.run(["kill", f"-{int(number)}", str(process.pid)], check=True)
    time.sleep(0.3)
    assert process.is_alive()
    process.terminate()
    process.join(5)
    assert process.exitcode == 0


class _Large(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> str:
        return "x" * 1_000_000  # more than a pipe holds


def _die_while_loading(connection) -> None:
    loader = DataLoader(_Large(), num_workers=2, collate_fn=list, worker_init_fn=leave_signals_to_the_main_process)
    samples = iter(loader)
    next(samples)
    connection.send([process.pid for process in psutil.Process().children()])
    os.kill(os.getpid(), signal.SIGKILL)


def test_loading_processes_do_not_outlive_a_killed_main_process():
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_die_while_loading, args=(theirs,))
    process.start()
    loading = ours.recv()
    process.join()
    assert len(loading) == 2
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in loading):
        assert time.monotonic() < deadline, "they live on"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("text", "expected"), [("500", (500, None)), (7, (7, None)), ("1.5m", (None, 90)), ("10min", (None, 600))]
)
def test_intervals(text, expected):
    assert parse_interval(text) == expected


@pytest.mark.parametrize("text", ["0", "-5", "0m", "5h", "", "soon"])
def test_other_intervals_are_named(text):
    with pytest.raises(UserError, match=re.escape(repr(text))):
        parse_interval(text)


def test_every_sample_once_a_pass_and_any_position_at_once():
    stream = SampleStream(range(7), seed=3)
    samples = list(islice(stream, 21))
    passes = [[index for index, _ in samples[i : i + 7]] for i in (0, 7, 14)]
    assert all(sorted(each) == list(range(7)) for each in passes)
    assert passes[0] != passes[1] != passes[2]
    assert len({seed for _, seed in samples}) == 21
    stream.skip(13)
    assert list(islice(stream, 8)) == samples[13:]
    begun = time.perf_counter()
    stream.skip(10**12)
    next(iter(stream))
    assert time.perf_counter() - begun < 0.05


def test_iterations_do_not_repeat_their_random_numbers(run):
    """The two checkpoints of consecutive iterations differ, so iterations were not fed the same."""
    first, second = (load_checkpoint(run / f"iter_{n}.pth")["state_dict"] for n in (1, 2))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_carries_its_checksums(run):
    with zipfile.ZipFile(run / "iter_3.pth") as archive:
        assert all(part.CRC for part in archive.infolist() if part.file_size)
