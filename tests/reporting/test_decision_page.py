"""The decision's page in a real browser: Debian's Chromium."""

import json
from pathlib import Path

import pytest
from decision_runs import make_annotations, make_detector_run, make_times
from helpers import call_tool
from screenshot import missing, set_screen

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

HOSTILE = "<img src=x onerror=alert(1)>"
LONG = "timm:mobilenetv4_conv_small_050.e3000_r224_in1k"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("page")
    annotations = make_annotations(root / "instances_val.json")
    times = {}
    for number, (backbone, quality) in enumerate({"resnet50": 0.8, LONG: 0.5, HOSTILE: 0.3}.items()):
        for seed in range(2):
            make_detector_run(
                root / "runs" / f"{number}_{seed}", annotations, quality=quality, seed=seed, backbone=backbone,
                params=(number + 1) * 2_000_000, config={"name": f"ssdlite_shapes_{number}", "sha256": "0" * 64},
            )  # fmt: skip
    times = make_times(root / "latency.json", {"resnet50": 60.0})
    for folder in (root / "runs").iterdir():  # only resnet50's name is one that a time can be of
        content = json.loads((folder / "result.json").read_text())
        if content["backbone"] == "resnet50":
            content["config"]["name"] = "ssdlite_shapes_resnet50"
            (folder / "result.json").write_text(json.dumps(content))
    run = call_tool("decide.py", root / "runs", "--annotations", annotations, "--latency", times, "--out", root / "out")
    assert run.returncode == 0, run.stderr
    return root / "out" / "decision.html"


@pytest.fixture
def driver(started, page):
    """The browser with the page freshly opened and drawn; whatever a test does, the console stays silent."""
    from selenium.webdriver.support.wait import WebDriverWait

    set_screen(started, 1280, 900)
    started.get_log("performance")
    started.get(page.as_uri())
    script = "return [...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('svg'))"
    WebDriverWait(started, 20).until(lambda driver: driver.execute_script(script))
    yield started
    assert started.get_log("browser") == []


def text(driver, selector: str) -> str:
    return driver.find_element("css selector", selector).text


def test_it_asks_for_nothing_but_itself(driver, page):
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    requests = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    own = {request["request"]["url"] for request in requests if request["documentURL"] == page.as_uri()}
    assert {url for url in own if not url.startswith("data:")} == {page.as_uri()}
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_what_is_asked_for_changes_sentence_and_table(driver, page):
    decision = json.loads(page.with_suffix(".json").read_text())
    assert f"{text(driver, '#answer')} {text(driver, '#reserve')}".strip() == decision["sentence"]
    assert text(driver, "tr.taken th").startswith("resnet50")
    field = driver.find_element("css selector", "#max_ms")
    field.send_keys("50")
    assert text(driver, "#answer") == "None of the 3 meets what is asked for."
    assert len(driver.find_elements("css selector", "tr.barred")) == 3  # the others have no time
    field.clear()
    driver.find_element("css selector", "#max_params").send_keys("4.5")
    driver.find_element("css selector", "#min_figure").send_keys("1")
    assert text(driver, "#answer").startswith("Take resnet50")
    labels = [mark.get_attribute("aria-label") for mark in driver.find_elements("css selector", ".role-mark path")]
    assert any(label and "kind: taken" in label and "resnet50" in label for label in labels)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_tables_fit_the_screen_and_can_be_read(dark, driver):
    set_screen(driver, 1280, 900, dark)
    widths = driver.execute_script(
        "return [document.documentElement.scrollWidth,"
        " ...[...document.querySelectorAll('table')].map((table) => table.getBoundingClientRect().right)]"
    )
    assert max(widths) <= 1280, widths
    ink, ground = driver.execute_script(
        "const light = (colour) => colour.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);"
        "const cell = document.querySelector('#backbones tbody tr:last-child th');"
        "let place = cell; while (/, 0\\)|transparent/.test(getComputedStyle(place).backgroundColor)) "
        "  place = place.parentElement;"
        "return [light(getComputedStyle(cell).color), light(getComputedStyle(place).backgroundColor)]"
    )
    assert abs(ink - ground) > 400


def test_a_hostile_name_is_only_text(driver):
    assert HOSTILE in text(driver, "#backbones")
    assert driver.execute_script("return [document.scripts.length, document.images.length]") == [2, 0]
