"""What pages of one file are made with: Vega by Altair and vl-convert, DataTables by itables, and a policy for them.

A page asks for nothing: libraries, styles and data stand in it. Its policy lets only its own scripts run and no text be
run as code, which Vega's interpreter of expressions (``ast``) does without.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from backbones.errors import UserError

_PARTS = Path(__file__).parent
# Module -> package.
_PACKAGES = {"altair": "altair", "itables": "itables", "vl_convert": "vl-convert-python"}
_EXPORTS = re.compile(r"export\s*\{([^}]*)\}\s*;?")


def check_installed() -> None:
    """Check that the libraries are there.

    Raises:
        UserError: one is missing; the message says how to get it.
    """
    if missing := [package for module, package in _PACKAGES.items() if find_spec(module) is None]:
        raise UserError(f"Pages are made with {', '.join(missing)}: pip install {' '.join(missing)}")


def render(folder: Path, place: Mapping[str, Any], *, data: Mapping[str, Any], scripts: tuple[str, ...]) -> str:
    """Return a page.

    Args:
        folder: with ``page.html``, the template, and the scripts.
        place: what the template names; everything that is not Markup is escaped.
        data: what the scripts read as ``DATA``.
        scripts: names of the page's own, in their order; they know ``vegaEmbed`` and ``ITable``.
    """
    # A name that the template misspells is an error.
    environment = Environment(
        loader=FileSystemLoader([folder, _PARTS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = "\n".join((folder / name).read_text(encoding="utf-8") for name in scripts)
    shared = (_PARTS / "shared.js").read_text(encoding="utf-8")
    script = f"{_tables_script()}\n{_charts_script()}\n{shared}\n{own}"
    return environment.get_template("page.html").render(
        **place,
        style=Markup(_tables_file("dt_bundle.css") + (_PARTS / "shared.css").read_text(encoding="utf-8")),
        script=Markup(script),
        data=Markup(json_in_html(data)),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src {_hash(script)}; img-src data:",
    )


def json_in_html(data: Any) -> str:
    """Return JSON that can stand in a script element: no text in it ends the element."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _tables_script() -> str:
    """Return DataTables as a part of a module: its exports become names."""
    text = _tables_file("dt_bundle.js")
    found = _EXPORTS.search(text)
    pairs = [part.split(" as ") for part in found[1].split(",")] if found else []
    names = {new: old for old, new in pairs}
    if not found or not names.keys() >= {"ITable", "jQuery"}:
        raise UserError("Pages do not know this version of itables, which offers no ITable: install itables 2.9.")
    named = f"const ITable = {names['ITable']}, jQuery = {names['jQuery']};"
    return f"{text[: found.start()]}\n{named}\n{text[found.end() :]}"


def _tables_file(name: str) -> str:
    """Return a file of itables, which is not imported: it takes pandas along where that is installed."""
    found = find_spec("itables")
    assert found and found.origin  # it was checked
    return (Path(found.origin).parent / "html" / name).read_text(encoding="utf-8")


@cache
def _charts_script() -> str:
    """Return Vega as a part of a module, in a function of its own: its names are short, and many."""
    import vl_convert

    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # it needs no snippet, whatever its stub says
    return f"(function () {{\n{bundle}\n}})();\nconst vegaEmbed = window.vegaEmbed;"


def _hash(source: str) -> str:
    """Return the source expression of a Content-Security-Policy that lets one inline text through."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
