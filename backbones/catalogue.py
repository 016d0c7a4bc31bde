"""The catalogue: the rows of every family, and look-up by name.

A file of ``backbones/families/`` with ``ROWS`` (name -> Entry) is a family; it needs no other line anywhere. Names are
lower-case words joined by underscores, a width multiplier last as ``x1.0``; ``timm:<model>`` reaches timm's others.
"""

import importlib
import pkgutil
import re
from typing import TYPE_CHECKING

from backbones import families
from backbones.entry import Entry, Preprocessing
from backbones.errors import UserError, did_you_mean
from backbones.strided import subsample_narrow
from backbones.timm_models import read_timm_model

if TYPE_CHECKING:
    from torch import nn

TIMM_PREFIX = "timm:"
_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*(_x\d+\.\d+)?")


def read_families() -> dict[str, Entry]:
    """Return the rows of all families, in the order of their files.

    Raises:
        ValueError: a name is another family's too, or not uniform.
    """
    rows: dict[str, Entry] = {}
    for module in pkgutil.iter_modules(families.__path__, f"{families.__name__}."):
        for name, entry in importlib.import_module(module.name).ROWS.items():
            if name in rows:
                raise ValueError(f"backbone {name!r} of {module.name} has the name of another family's")
            if not _NAME.fullmatch(name):
                raise ValueError(f"backbone {name!r} of {module.name}: names are like efficientnet_b0, rexnet_x1.0")
            rows[name] = entry
    return rows


def family_of(name: str) -> str:
    """Return the family of a row of the catalogue: its file's name."""
    modules = pkgutil.iter_modules(families.__path__, f"{families.__name__}.")
    return next(m.name.rpartition(".")[2] for m in modules if name in importlib.import_module(m.name).ROWS)


CATALOGUE = read_families()


def list_backbones() -> list[str]:
    """Return the names of the catalogue; ``timm:<model>`` reaches timm's others."""
    return list(CATALOGUE)


def find_entry(name: str) -> Entry:
    """Return the entry of a backbone, for ``timm:<model>`` one made from timm's own records.

    Raises:
        UserError: unknown name.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    if name.startswith(TIMM_PREFIX):
        return read_timm_model(name.removeprefix(TIMM_PREFIX))
    raise UserError(
        f"Unknown backbone {name!r}.{did_you_mean(name, CATALOGUE)} "
        f"Known: {', '.join(CATALOGUE)}; {TIMM_PREFIX}<model> reaches timm's others."
    )


def build_network(name: str, num_classes: int = 1000, drop_rate: float = 0.2) -> "nn.Module":
    """Build the whole network of a backbone, classifier included, with random weights.

    Args:
        name: a name of the catalogue, or ``timm:<model>``.
        num_classes: of the classifier.
        drop_rate: of the dropout before the classifier.

    Raises:
        UserError: unknown name.
    """
    return subsample_narrow(find_entry(name).build(num_classes=num_classes, drop_rate=drop_rate))


def fuse_network(name: str, net: "nn.Module") -> "nn.Module":
    """Merge the re-parameterised branches of a backbone's network in eval mode; may work in place.

    Args:
        name: a name of the catalogue, or ``timm:<model>``.
        net: what ``build_network`` returned, or a part of it.

    Returns:
        The same function of an image in fewer layers; ``net`` itself for a network without such branches.

    Raises:
        UserError: unknown name.
    """
    fuse = find_entry(name).fuse
    return fuse(net) if fuse else net


def is_fused(name: str) -> bool:
    """Tell whether a backbone has re-parameterised branches, which are merged before it is counted or timed.

    Raises:
        UserError: unknown name.
    """
    return find_entry(name).fuse is not None


def preprocessing(name: str) -> Preprocessing:
    """Return how images are prepared for a backbone's ImageNet weights.

    Raises:
        UserError: unknown name.
    """
    return find_entry(name).preprocessing
