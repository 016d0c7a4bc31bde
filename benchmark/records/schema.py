"""What the schemas of all records share."""

import json
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from backbones.errors import UserError
from benchmark.files.reading import read_regular

Record = TypeVar("Record", bound=BaseModel)
_MOST = 2**63  # what arrays and charts can hold


class Strict(BaseModel):
    """A record that takes no other fields than its own and no number that is none, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _within_range(self) -> Self:
        for name, value in self:
            if isinstance(value, int) and abs(value) >= _MOST:
                raise ValueError(f"{name} is out of range")
        return self


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong with what was read, and where."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'top level'}: {first['msg']}"


def read_record(kind: type[Record], path: Path, otherwise: str) -> Record:
    """Read a record from a file of JSON.

    Args:
        kind: its schema.
        path: the file.
        otherwise: what another file is: ``no plan of a series``.

    Raises:
        UserError: unreadable, not JSON, or not of this schema; the first problem is named.
    """
    try:
        return kind.model_validate(json.loads(read_regular(path)))
    except (OSError, ValueError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else error
        raise UserError(f"{path} is {otherwise}: {problem}.") from error
