"""What all processes of a training agree on, without waiting for a GPU."""

import pytest
import torch
from mmengine import dist

from benchmark.training import saving
from benchmark.training.saving import Agreement


@pytest.fixture
def two_processes(monkeypatch):
    """This process, and another one that has received signal 10."""
    monkeypatch.setattr(dist, "is_distributed", lambda: True)
    monkeypatch.setattr(dist, "get_comm_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda shared, op: shared.clamp_(min=10))


class Event:
    """An event of CUDA's: what is behind it has been waited for, or not."""

    waited = False

    def synchronize(self) -> None:
        self.waited = True


def test_alone_a_number_is_itself():
    assert [Agreement().reach(number) for number in (0, 15)] == [0, 15]


def test_on_cpus_all_agree_at_once(two_processes):
    agreement = Agreement()
    assert [agreement.reach(number) for number in (0, 15)] == [10, 15]


def test_on_gpus_nothing_waits_for_what_was_just_said(two_processes, monkeypatch):
    events = []

    def send_to_host(values):
        events.append(Event())
        return values, events[-1]

    monkeypatch.setattr(saving, "send_to_host", send_to_host)
    agreement = Agreement(lag=2)
    assert [agreement.reach(number) for number in (11, 12, 13, 14)] == [0, 0, 11, 12]
    assert [event.waited for event in events] == [True, True, False, False]
