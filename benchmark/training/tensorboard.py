"""TensorBoard's files of a run that is resumed."""

from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from benchmark.files.atomic import write_atomically

EVALUATION = "val/"  # what the figures of evaluations are called


def rewind(folder: Path, iteration: int) -> None:
    """Take out what will be logged again by a run that goes on after ``iteration``: no step is there twice.

    That is everything later, the evaluation of ``iteration`` itself, and the config.
    """
    for path in sorted(folder.glob("events.out.tfevents.*")):
        records = [record for record in RawEventFileLoader(str(path)).Load() if _stays(record, iteration)]
        write_atomically(path, lambda temporary, records=records: _write(temporary, records))


def _stays(record: bytes, iteration: int) -> bool:
    event = Event.FromString(record)
    tags = [value.tag for value in event.summary.value]
    if event.step > iteration or any(tag.startswith("config") for tag in tags):
        return False
    return event.step < iteration or not any(tag.startswith(EVALUATION) for tag in tags)


def _write(path: Path, records: list[bytes]) -> None:
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for record in records:
            writer.write(record)
