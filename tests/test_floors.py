"""Imports go down: a room takes only from rooms below it, and no two modules take from each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The rooms from the top floor down: a place in this list is what makes a folder or a module a room.
FLOORS = (
    "tools",
    "benchmark.reporting",
    "benchmark.experiments",
    "benchmark.inference",
    "benchmark.training",
    "benchmark.preflight",
    "benchmark.measuring",
    "benchmark.evaluation",
    "benchmark.config",
    "benchmark.models",
    "benchmark.data",
    "benchmark.records",
    "benchmark.files",
    "benchmark.cli",
    "benchmark.tasks",
    "benchmark.seeding",
    "benchmark.console",
    "backbones",
)


def modules(root: Path) -> dict[str, Path]:
    """Return every module of the packages and tools by its dotted name."""
    paths = [path for top in ("backbones", "benchmark", "tools") for path in (root / top).rglob("*.py")]
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def room(module: str) -> str | None:
    """Return the room that a module is in, None for the package that only holds rooms.

    Raises:
        ValueError: it has no place in the list.
    """
    if module == "benchmark":
        return None
    found = [floor for floor in FLOORS if f"{module}.".startswith(f"{floor}.")]
    if not found:
        raise ValueError(f"{module} is in no room: give its room a place in FLOORS, above all that it imports.")
    return found[0]


def imports(path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Yield line and name of every module of ours that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in known or node.module in known:
                    yield node.lineno, full if full in known else node.module


def climbs(root: Path) -> list[str]:
    """Return every import that goes up, as a line that names it."""
    known = modules(root)
    return [
        f"{path.relative_to(root)}, line {line}: {room(name)} takes from {room(other)}, which lies above it"
        for name, path in known.items()
        for line, other in imports(path, known)
        if room(name) and room(other) and FLOORS.index(room(other)) < FLOORS.index(room(name))
    ]


def circles(root: Path) -> list[str]:
    """Return the modules that reach themselves by imports."""
    known = modules(root)
    taken = {name: {other for _, other in imports(path, known)} for name, path in known.items()}

    def reached(name: str) -> set[str]:
        found, ahead = set(), [name]
        while ahead:
            new = taken[ahead.pop()] - found
            found |= new
            ahead += new
        return found

    return sorted(name for name in known if name in reached(name))


def test_every_module_is_in_a_room():
    for module in modules(ROOT):
        room(module)


def test_no_import_goes_up():
    assert climbs(ROOT) == []


def test_no_modules_import_each_other():
    assert circles(ROOT) == []


@pytest.fixture
def house(tmp_path):
    """A house of two rooms in order."""
    for name, text in (
        ("benchmark/__init__.py", ""),
        ("benchmark/data/coco.py", "from benchmark.tasks import TASKS"),
        ("benchmark/tasks.py", "TASKS = {}"),
        ("tools/train.py", "import benchmark.data.coco"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_climb_is_seen_also_inside_a_function(house):
    assert climbs(house) == circles(house) == []
    (house / "benchmark/tasks.py").write_text("def f():\n    from benchmark.data import coco\n")
    assert len(climbs(house)) == 1
    assert "benchmark/tasks.py, line 2: benchmark.tasks takes from benchmark.data" in climbs(house)[0]
    assert circles(house) == ["benchmark.data.coco", "benchmark.tasks"]


def test_a_room_without_a_place_is_seen(house):
    (house / "benchmark/cellar").mkdir()
    (house / "benchmark/cellar/wine.py").write_text("")
    with pytest.raises(ValueError, match=r"benchmark\.cellar\.wine is in no room"):
        [room(module) for module in modules(house)]
