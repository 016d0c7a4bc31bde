"""Every command line of the documents is one that the tools take, read by their own parsers and not run."""

import importlib
import re
import shlex
from argparse import ArgumentParser

import pytest
from helpers import REPOSITORY
from test_readme import DOCUMENTS

from backbones.catalogue import find_entry

TOOLS = sorted(path.stem for path in (REPOSITORY / "tools").glob("*.py"))
# Of other programs that the documents name.
FOREIGN = {"--nproc_per_node", "--nnodes", "--rdzv_backend", "--rdzv_endpoint", "--max-restarts", "--help"} | {
    "--model-repository", "--model_name", "--model_path", "--rest_port", "--rm",
}  # fmt: skip
TARGETS = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def parser(tool: str) -> ArgumentParser:
    return importlib.import_module(f"tools.{tool}").make_parser()


def command_lines() -> list[str]:
    """Return the command lines of tools: lines in blocks, and words in backticks that begin with Python."""
    found = set()
    for document in DOCUMENTS:
        text = document.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        words = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        lines = [line for block in blocks for line in block.splitlines()]
        lines += [word for word in words if word.startswith(("python ", "torchrun "))]
        found |= {re.sub(r"\s+", " ", line).strip() for line in lines if re.search(r"\btools/\w+\.py", line)}
    return sorted(line for line in found if re.match(r"(\w+=\w+ )*(\S*python|torchrun) ", line))


def arguments(line: str) -> tuple[str, list[str]]:
    """Return the tool of a command line and its arguments, without what a shell takes."""
    words = shlex.split(line, comments=True)
    [place] = [number for number, word in enumerate(words) if re.fullmatch(r"tools/\w+\.py", word)]
    ends = [number for number, word in enumerate(words) if word in (">", "|", "&", "&&")]
    return words[place][len("tools/") : -len(".py")], words[place + 1 : min(ends, default=None)]


def test_the_documents_have_command_lines_of_every_tool():
    assert {arguments(line)[0] for line in command_lines()} == set(TOOLS)


@pytest.mark.parametrize("line", command_lines(), ids=lambda line: line[:80])
def test_a_documented_command_line_is_taken(line):
    tool, given = arguments(line)
    parsed = vars(parser(tool).parse_args(given))
    for config in (word for word in given if word.startswith("configs/")):
        assert (REPOSITORY / config).is_file()
    if parsed.get("backbone"):
        find_entry(parsed["backbone"])
    for model in parsed.get("models") or ():
        assert (REPOSITORY / model).is_file() if model.endswith(".py") else find_entry(model)


def test_a_line_that_no_tool_takes_is_seen(capsys):
    tool, given = arguments("python tools/train.py configs/ssdlite.py --no-such-option")
    with pytest.raises(SystemExit):
        parser(tool).parse_args(given)
    assert "--no-such-option" in capsys.readouterr().err


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_option_and_make_target_named_exists(document):
    known = {option for tool in TOOLS for action in parser(tool)._actions for option in action.option_strings}
    text = re.sub(r"^```python.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", "\n".join(re.findall(r"`([^`]+)`", text))))
    assert named <= known | FOREIGN, f"{document.name}: {sorted(named - known - FOREIGN)}"
    for target in re.findall(r"`make ([a-z -]+)`", text):
        assert set(target.split()) <= set(TARGETS)
