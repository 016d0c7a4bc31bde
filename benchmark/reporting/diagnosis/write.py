"""The folder of a diagnosis: what of it is JSON, and the page."""

import json
from collections.abc import Sequence
from pathlib import Path

from backbones.errors import UserError
from benchmark.config.load import load_config
from benchmark.evaluation.diagnosis import Diagnosis
from benchmark.files.atomic import check_folder, make_folder, write_atomically
from benchmark.files.run_folder import CONFIG, DIAGNOSIS, DIAGNOSIS_PAGE
from benchmark.reporting.diagnosis.page import page

_NAMES = (DIAGNOSIS, DIAGNOSIS_PAGE)


def check_out(out: Path) -> None:
    """Refuse a folder that cannot be written, or that holds anything but an earlier diagnosis.

    Raises:
        UserError: it does.
    """
    check_folder(out)
    if others := sorted(path.name for path in out.iterdir() if path.name not in _NAMES) if out.is_dir() else []:
        raise UserError(f"--out {out} holds other files ({others[0]}): give a new or an empty folder.")


def write(diagnoses: Sequence[Diagnosis], out: Path) -> Path:
    """Write diagnoses into a folder, which is made, and return the page.

    Args:
        diagnoses: in this order.
        out: see ``check_out``.

    Raises:
        UserError: the folder cannot be written.
    """
    make_folder(out)
    records = json.dumps([each.record() for each in diagnoses], indent=2) + "\n"
    write_atomically(out / DIAGNOSIS, lambda temporary: temporary.write_text(records))
    text = page(diagnoses, _pictures_of)
    write_atomically(out / DIAGNOSIS_PAGE, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return out / DIAGNOSIS_PAGE


def _pictures_of(each: Diagnosis) -> Path:
    """Return the folder of a run's pictures."""
    config = each.run.folder / CONFIG
    if not config.is_file():
        raise UserError(f"{each.run.folder} holds no {CONFIG} that names the folder of the pictures.")
    dataset = load_config(config).val_dataloader.dataset
    return Path(dataset.data_root) / dataset.data_prefix.img
