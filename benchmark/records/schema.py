"""What the schemas of all records share."""

from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """A record that takes no other fields than its own, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong with what was read, and where."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'top level'}: {first['msg']}"
