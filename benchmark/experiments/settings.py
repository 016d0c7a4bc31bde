"""``--set key=value``: a setting of an experiment in place of its config's, of the same kind."""

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any

from backbones.errors import UserError, did_you_mean

_MOST = 10**6  # of a number


def apply_settings(
    config: Mapping[str, Any], settings: Sequence[str], settable: Sequence[str], experiment: str
) -> dict[str, Any]:
    """Return a config with some settings changed.

    Args:
        config: plain values.
        settings: ``key=value``; values as Python writes them, or plain words.
        settable: keys that may be changed.
        experiment: its name, for messages.

    Raises:
        UserError: no pair, a key that may not be changed or is given twice, a value of another kind.
    """
    changed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set takes KEY=VALUE, found {setting!r}.")
        if key not in settable:
            known = f"Expected one of {', '.join(settable)}." if settable else "None of its settings can be."
            raise UserError(f"{experiment} has no {key!r} that can be set.{did_you_mean(key, settable)} {known}")
        if key in changed:
            raise UserError(f"--set {key} is given twice.")
        value = _parse(text)
        if not _is_like(value, config[key]):
            raise UserError(f"--set {key} takes {_kind(config[key])}, {config[key]!r} say; found {text!r}.")
        changed[key] = value
    return {**config, **changed}


def _parse(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _is_like(value: Any, there: Any) -> bool:
    if isinstance(there, list):
        return isinstance(value, list) and bool(value) and all(_is_like(item, there[0]) for item in value)
    if isinstance(there, dict):
        return isinstance(value, dict) and bool(value) and all(_texts(item) for item in value.items())
    if isinstance(there, int):
        return type(value) is int and 1 <= value <= _MOST
    if isinstance(there, float):
        return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= _MOST
    return isinstance(value, str)


def _texts(pair: tuple[Any, Any]) -> bool:
    return all(isinstance(part, str) for part in pair)


def _kind(there: Any) -> str:
    if isinstance(there, list):
        return "a list that is not empty, each item"
    kinds = {dict: "texts by name", int: "a whole number from 1", float: "a number from 0", str: "a text"}
    return kinds[type(there)]
