"""TensorBoard's files of a run that is resumed."""

import shutil
import struct
from functools import partial
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

from benchmark.files.atomic import write_atomically
from benchmark.files.run_folder import DAMAGED, EVENTS

EVALUATION = "val/"  # what the figures of evaluations are called
_HEAD = 12  # bytes before a record


def rewind(folder: Path, iteration: int) -> list[str]:
    """Take out what will be logged again by a run that resumes after ``iteration``: no step is there twice.

    That is everything later, the evaluation of ``iteration`` itself, and the config. A damaged record is left out, and
    the file as it was kept beside it; one that a kill has cut off is simply logged again.

    Returns:
        What could not be read, a line per file.
    """
    notes = []
    for path in sorted(folder.glob(EVENTS)):
        records, lost = _read(path)
        if lost:
            kept = path.with_name(path.name + DAMAGED)
            shutil.copy2(path, kept)
            notes.append(
                f"{path} is damaged: {lost} bytes of what was logged cannot be read; as it was it is {kept.name}."
            )
        stay = [record for record in records if _stays(record, iteration)]
        write_atomically(path, partial(_write, records=stay))
    return notes


def _read(path: Path) -> tuple[list[bytes], int]:
    """Return the intact records of a file, and how many bytes before its end are of damaged ones.

    A record is its length (8 bytes) with a checksum (4), and its content with one; see TensorFlow's TFRecord.
    """
    content, place, lost = path.read_bytes(), 0, 0
    records: list[bytes] = []
    while place + _HEAD <= len(content):
        head = content[place : place + 8]
        (length,), (check,) = struct.unpack("<Q", head), struct.unpack("<I", content[place + 8 : place + _HEAD])
        if check != masked_crc32c(head):
            return records, lost + len(content) - place  # nothing says where the next record begins
        end = place + _HEAD + length + 4
        if end > len(content):
            break
        record = content[place + _HEAD : end - 4]
        if struct.unpack("<I", content[end - 4 : end])[0] == masked_crc32c(record):
            records.append(record)
        else:
            lost += end - place
        place = end
    return records, lost


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
