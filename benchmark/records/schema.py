"""What the schemas of all records share."""

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

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
