"""The README's picture of the rooms, and what its links lead to."""

import re
from pathlib import Path

import pytest
from helpers import REPOSITORY
from test_floors import FLOORS

DOCUMENTS = sorted((*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")))


def rooms(readme: str) -> list[str]:
    """Return the rooms of the picture from the top down, by their dotted names."""
    picture = readme.split("<!-- rooms:begin -->")[1].split("<!-- rooms:end -->")[0]
    found, package = [], ""
    for indent, name in re.findall(r"^( *)([\w./]+)  ", picture, re.MULTILINE):
        path = name.rstrip("/").removesuffix(".py")
        package = package if indent else path
        found.append(f"{package}.{path}" if indent else path)
    return [name for name in found if name != "benchmark"]  # the package that only holds rooms


def test_the_picture_shows_every_room_in_order():
    assert rooms((REPOSITORY / "README.md").read_text()) == list(FLOORS)


@pytest.mark.parametrize("room", FLOORS)
def test_every_room_exists(room):
    path = REPOSITORY / room.replace(".", "/")
    assert path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text()):
        path, _, heading = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), f"{document.name} links to {target}"
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if heading else []
        anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}
        assert not heading or heading in anchors, f"{document.name} links to {target}"


def test_every_document_is_named_in_the_readme():
    readme = (REPOSITORY / "README.md").read_text()
    for document in (REPOSITORY / "docs").glob("*.md"):
        assert f"(docs/{document.name})" in readme
