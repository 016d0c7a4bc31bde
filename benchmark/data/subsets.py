"""Parts of a data set: seeded, stratified by class, nested, and the same whatever else is in the folder's order.

Pictures are put in one order, of which a part is the beginning: a larger part holds the smaller ones. A picture stands
for the rarest of its classes; each class's pictures lie evenly spread over the order, in the order of hashes of their
names and the seed.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from backbones.errors import UserError

SEED = 0  # of all parts, unless a config says another: every run of a comparison then sees the same pictures


def stratified_order(names: Sequence[str], labels: Sequence[Collection[Hashable]], seed: int = SEED) -> list[int]:
    """Return the places of pictures in the order whose beginnings are the parts.

    Args:
        names: of the pictures, each once.
        labels: the classes that each shows.
        seed: of the order.
    """
    counts = Counter(label for own in labels for label in set(own))
    strata: dict[Hashable, list[int]] = defaultdict(list)
    for place, own in enumerate(labels):
        strata[min(own, key=lambda label: (counts[label], str(label)), default=None)].append(place)
    digests = [hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest() for name in names]
    keys: dict[int, tuple[float, bytes]] = {}
    for members in strata.values():
        members.sort(key=lambda place: digests[place])
        keys |= {place: (rank / len(members), digests[place]) for rank, place in enumerate(members)}
    return sorted(keys, key=lambda place: keys[place])


def check_part(part: Mapping[str, Any]) -> None:
    """Check what a config says of a part: ``images`` or ``fraction``, and ``seed``.

    Raises:
        UserError: both or neither, or a number that is none.
    """
    images, fraction, seed = part.get("images"), part.get("fraction"), part.get("seed", SEED)
    if (images is None) == (fraction is None) or part.keys() - {"images", "fraction", "seed"}:
        raise UserError(f"A part of the training pictures is --images N or --fraction F, one of them; found {part}.")
    if images is not None and (type(images) is not int or images < 1):
        raise UserError(f"--images takes a number of training pictures from 1, found {images!r}.")
    if fraction is not None and not (type(fraction) in (int, float) and 0 < fraction <= 1):
        raise UserError(f"--fraction takes a share of the training pictures above 0 and up to 1, found {fraction!r}.")
    if type(seed) is not int:
        raise UserError(f"The seed of a part is a whole number, found {seed!r}.")


def part_size(part: Mapping[str, Any], whole: int) -> int:
    """Return how many of so many pictures a part has, at least one.

    Raises:
        UserError: more than there are.
    """
    check_part(part)
    images = part.get("images")
    if images is None:
        return max(1, math.floor(part["fraction"] * whole + 0.5))
    if images > whole:
        raise UserError(f"--images {images}: there are only {whole} pictures to train on. Leave it out to take all.")
    return images


def describe_part(part: Mapping[str, Any] | None) -> str:
    """Return what a part adds to the name of a run's folder: nothing for all pictures."""
    if not part:
        return ""
    return f"_images{part['images']}" if part.get("images") else f"_fraction{part['fraction']:g}"
