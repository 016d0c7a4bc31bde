"""Finding a config's file, and naming a run.

A template (``configs/ssdlite.py``) says all of a recipe but its backbone; a leaf is a template with a backbone. Both
are named by their contents, template and backbone: ``ssdlite_rexnet_x1.0``. A config file of a user's own keeps its
file's name, followed by the backbone if the command line changes it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from backbones.errors import UserError, did_you_mean
from benchmark.files.run_folder import slug

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DATA = CONFIGS / "_base_" / "data"
_LONGEST = 200  # bytes of a run's name, which is a folder's


def is_template(path: Path) -> bool:
    """Tell whether a config file is a template or a template on another data set."""
    return re.search(r"^template = ", path.read_text(), re.MULTILINE) is not None


def list_leaves() -> list[Path]:
    """Return the configs of configs/ that name their backbone."""
    return [path for path in sorted(CONFIGS.glob("*.py")) if not is_template(path)]


def find_config(path: Path) -> Path:
    """Return a config's file, which may also be given as it lies below the project, from any working directory.

    Raises:
        UserError: no such file; the message names the nearest, or the template and backbone that make it.
    """
    for place in (path, CONFIGS.parent / path):
        if place.is_file():
            return place
    command = _as_template(path.stem)
    known = [str(found.relative_to(CONFIGS.parent)) for found in sorted(CONFIGS.glob("*.py"))]
    hint = f" It is its template with a backbone: {command}" if command else did_you_mean(f"configs/{path.name}", known)
    raise UserError(f"Config not found: {path}.{hint}")


def on_dataset(path: Path, own: str | None, dataset: str) -> Path:
    """Return the file that is a template on another data set than its own.

    Raises:
        UserError: a data set that the config does not take.
    """
    known = list_datasets(path)
    if dataset in known:
        return DATA / f"{path.stem}_{dataset}.py"
    takes = ", ".join([own] if own else known)
    raise UserError(
        f"--dataset {dataset}: no such folder, and of named data sets {path} takes only {takes}."
        f"{did_you_mean(dataset, known)}"
    )


def list_datasets(path: Path) -> list[str]:
    """Return the data sets that a template takes besides its own."""
    return [part.stem.removeprefix(f"{path.stem}_") for part in sorted(DATA.glob(f"{path.stem}_*.py"))]


def run_name(own: Config, path: Path, backbone: str) -> str:
    """Return the name of a run; see the module.

    Args:
        own: the config as its file says it.
        path: its file.
        backbone: of the run.

    Raises:
        UserError: a file named after another backbone than its own, another backbone for a run's config, or a name
            that no folder can have.
    """
    stem, template = own.get("name", path.stem), own.get("template", "")
    owned = own.model.get("backbone", {}).get("name")
    tail = stem.removeprefix(f"{template}_")
    if template and tail not in (stem, owned and slug(owned)) and tail in _backbones():
        raise UserError(f"{path} is named after {tail}, but its backbone is {owned}: rename the file, or change it.")
    if "experiment_name" in own and owned != backbone:
        raise UserError(
            f"{path} is a run's, with the channels and the preprocessing of {owned} in it: give --backbone {backbone} "
            "to the config that the run was of."
        )
    if template and (stem == template or tail == (owned and slug(owned))):
        stem = template
    elif owned == backbone:
        return stem
    name = f"{stem}_{slug(backbone)}"
    if len(name.encode()) > _LONGEST:
        raise UserError(
            f"The run's name is too long for a folder ({len(name.encode())} bytes, at most {_LONGEST}): {name[:60]}..."
        )
    return name


def _as_template(name: str) -> str | None:
    """Return the arguments that make the run of a name, if it is one of template, data set and backbone."""
    for prefix, arguments in _templates():
        tail = name.removeprefix(f"{prefix}_")
        if tail.startswith("timm-"):
            return f"{arguments} --backbone {tail.replace('-', ':', 1)}"
        if tail in _backbones():
            return f"{arguments} --backbone {tail}"
    return None


def _backbones() -> list[str]:
    from backbones.catalogue import list_backbones  # takes torch with it

    return list_backbones()


def _templates() -> Iterator[tuple[str, str]]:
    """Yield the beginning of a run's name, and the arguments that it stands for."""
    for path in filter(is_template, CONFIGS.glob("*.py")):
        yield path.stem, f"configs/{path.name}"
        for dataset in list_datasets(path):
            yield f"{path.stem}_{dataset}", f"configs/{path.name} --dataset {dataset}"
