"""CITATION.cff says what the package says."""

import tomllib

import yaml
from helpers import REPOSITORY


def test_it_is_of_this_version_and_names_the_paper():
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert cited["cff-version"] == "1.2.0" and cited["message"] and cited["authors"]
    assert (cited["title"], cited["version"], cited["license"]) == (
        project["name"],
        project["version"],
        project["license"],
    )
    [paper] = cited["references"]
    assert paper["title"] == "Rethinking Channel Dimensions for Efficient Model Design"
