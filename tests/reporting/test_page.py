"""The page of leaderboards in a real browser: Debian's Chromium."""

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from golden import LEADERBOARD
from screenshot import browser, missing, set_screen

from benchmark.reporting.leaderboard import find_runs, make_report, write

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

HOSTILE = "<script>alert(1)</script>"
SSDLITE = "section[aria-labelledby=board1]"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write(make_report(find_runs([LEADERBOARD / "runs"]), paper=True), "html", path)
    return path


@pytest.fixture(scope="module")
def started():
    with browser() as driver:
        yield driver


@pytest.fixture
def driver(started, page):
    """The browser with the page freshly opened; whatever a test does, the console stays silent."""
    set_screen(started, 1280, 900)
    started.get_log("performance")
    started.get(page.as_uri())
    yield started
    assert started.get_log("browser") == []


def all_texts(driver, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((part) => part.textContent.trim())"
    return driver.execute_script(script, selector)


def find(driver, selector: str):
    return driver.find_element("css selector", selector)


def backbones(driver) -> list[str]:
    """Names of the first table's rows, from above."""
    script = "return [...document.querySelectorAll(arguments[0])].map((cell) => cell.dataset.value)"
    return driver.execute_script(script, f"{SSDLITE} tbody:not([hidden]) tr:first-child th")


def heading(driver, text: str):
    headings = driver.find_elements("css selector", f"{SSDLITE} thead th")
    return next(found for found in headings if found.text.strip() == text)


def shown_titles(driver) -> list[str]:
    return [title.text for title in driver.find_elements("css selector", "h3") if title.is_displayed()]


def background(driver) -> tuple[int, int, int]:
    color = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    return tuple(int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))


def test_it_asks_for_nothing_but_itself(driver, page):
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    requests = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    # The browser's own first tab asks for its parts meanwhile.
    own = {request["request"]["url"] for request in requests if request["documentURL"] == page.as_uri()}
    assert {url for url in own if not url.startswith("data:")} == {page.as_uri()}
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_headings_sort_and_rows_without_a_value_stay_last(driver):
    assert backbones(driver) == ["rexnet_x1.0", "efficientnet_b0", HOSTILE, "mobilenet_v2"]
    assert heading(driver, "AP").get_attribute("aria-sort") == "descending"
    by_params = [HOSTILE, "mobilenet_v2", "rexnet_x1.0", "efficientnet_b0"]
    for order, expected in (("ascending", by_params), ("descending", by_params[::-1])):
        heading(driver, "params (M)").find_element("tag name", "button").click()
        assert (heading(driver, "params (M)").get_attribute("aria-sort"), backbones(driver)) == (order, expected)
    assert heading(driver, "AP").get_attribute("aria-sort") is None
    for expected in (["rexnet_x1.0", "efficientnet_b0"], ["efficientnet_b0", "rexnet_x1.0"]):
        heading(driver, "latency (ms), batch 1").find_element("tag name", "button").click()
        assert backbones(driver)[:2] == expected  # the other two were not timed


def test_headings_sort_from_the_keyboard(driver):
    from selenium.webdriver.common.keys import Keys

    heading(driver, "backbone").find_element("tag name", "button").send_keys(Keys.ENTER)
    assert heading(driver, "backbone").get_attribute("aria-sort") == "ascending"
    assert backbones(driver)[1:] == ["efficientnet_b0", "mobilenet_v2", "rexnet_x1.0"]


def test_tasks_and_names_filter(driver):
    assert len(shown_titles(driver)) == 4
    find(driver, "[name=task][value=mask_rcnn]").click()
    assert shown_titles(driver) == ["Mask R-CNN + FPN, coco2017 val2017"]
    find(driver, "[name=task][value='']").click()
    find(driver, "#backbone").send_keys("EfficientNet")
    assert shown_titles(driver) == ["SSDLite, coco2017 val2017"] and backbones(driver) == ["efficientnet_b0"]
    faded = driver.find_elements("css selector", f"{SSDLITE} figure:first-child .point.faded")
    assert len(faded) == 3
    find(driver, "#backbone").send_keys("!")
    assert shown_titles(driver) == [] and find(driver, "#nothing").is_displayed()


def test_hovering_and_focus_show_a_run(driver):
    from selenium.webdriver import ActionChains

    mark = find(driver, f"{SSDLITE} .point[data-row='1']")
    assert not find(driver, "#tip").is_displayed()
    ActionChains(driver).move_to_element(mark.find_element("css selector", ".dot")).perform()
    tip = find(driver, "#tip").text
    assert tip.startswith("efficientnet_b0\nAP: 23.5 [22.9, 24.0]") and "efficientnet_interval" in tip
    assert "lit" in find(driver, f"{SSDLITE} tbody[data-row='1']").get_attribute("class")
    ActionChains(driver).move_to_element(find(driver, "h1")).perform()
    assert not find(driver, "#tip").is_displayed()
    driver.execute_script("arguments[0].focus()", find(driver, f"{SSDLITE} figure .point.paper"))
    assert "in the paper" in find(driver, "#tip").text


def test_the_plots_draw_runs_frontier_and_paper(driver):
    plots = driver.find_elements("css selector", f"{SSDLITE} figure")
    assert len(plots) == 4  # multiply-adds, params, and latency at two batch sizes
    count = {
        kind: len(plots[0].find_elements("css selector", f".point.{kind}")) for kind in ("run", "partial", "paper")
    }
    assert count == {"run": 3, "partial": 1, "paper": 10}
    places = [
        (float(dot.get_attribute("cx")), float(dot.get_attribute("cy")))
        for dot in plots[0].find_elements("css selector", ".run .dot")
    ]
    frontier = plots[0].find_element("css selector", ".frontier").get_attribute("points")
    # The cheapest run, EfficientNet-B0 and ReXNet: each costs more and finds more than the one before.
    assert [tuple(map(float, corner.split(","))) for corner in frontier.split()] == sorted(places)


def test_seeds_unfold(driver):
    button = find(driver, f"{SSDLITE} .unfold")
    members = driver.find_elements("css selector", f"{SSDLITE} .member")
    assert (button.text, [row.is_displayed() for row in members]) == ("2 runs", [False, False])
    button.click()
    assert [row.is_displayed() for row in members] == [True, True]
    assert button.get_attribute("aria-expanded") == "true" and "rexnet_seed1" in members[1].text


def test_links_lead_to_the_files_of_the_run(driver):
    addresses = driver.execute_script("return [...document.querySelectorAll('a')].map((link) => link.href)")
    paths = [Path(unquote(urlsplit(address).path)) for address in addresses]
    assert [path.name for path in paths] == ["config.py", "pictures"] and all(path.exists() for path in paths)


def test_colours_follow_the_system_and_the_button(driver):
    light = background(driver)
    set_screen(driver, 1280, 900, dark=True)
    dark = background(driver)
    assert min(light) > 200 > 60 > max(dark)
    find(driver, "#theme").click()
    assert background(driver) == light and "Light" in find(driver, "#theme").text
    driver.refresh()
    assert background(driver) == light
    for expected in (dark, dark):  # dark, and again what the system has
        find(driver, "#theme").click()
        assert background(driver) == expected


def test_only_the_tables_scroll_on_a_phone(driver):
    set_screen(driver, 390, 800)
    width, table, frame = driver.execute_script(
        "const frame = document.querySelector('.scroll');"
        "return [document.documentElement.scrollWidth, frame.scrollWidth, frame.clientWidth]"
    )
    assert width <= 390 and frame < 390 < table


def test_a_hostile_name_is_only_text(driver):
    from selenium.common.exceptions import NoAlertPresentException

    assert HOSTILE in " ".join(all_texts(driver, "tbody th"))
    assert HOSTILE in driver.execute_script(
        "const mark = document.querySelector('.point[data-row=\"2\"]'); mark.focus();"
        "return document.querySelector('#tip').textContent"
    )
    with pytest.raises(NoAlertPresentException):
        _ = driver.switch_to.alert
    assert driver.execute_script("return [document.scripts.length, document.images.length]") == [1, 0]


def test_contrast_of_every_text_colour_is_enough(driver):
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    script = (
        "const style = document.createElement('canvas').getContext('2d', {willReadFrequently: true});"
        "const probe = document.createElement('i'); document.body.append(probe);"
        "const rgb = (name) => { probe.style.color = `var(--${name})`; style.fillStyle = getComputedStyle(probe).color;"
        "  style.fillRect(0, 0, 1, 1); return [...style.getImageData(0, 0, 1, 1).data].slice(0, 3); };"
        "return Object.fromEntries(arguments[0].map((name) => [name, rgb(name)]))"
    )
    texts = {
        "paper-ground": ("ink", "muted", "accent", "printed"),
        "raised": ("ink", "muted", "accent", "printed"),
        "tint": ("ink", "muted", "accent", "printed"),
        "warning-ground": ("warning",),
    }
    names = sorted({*texts, *(name for found in texts.values() for name in found)})
    for dark in (False, True):
        set_screen(driver, 1280, 900, dark)
        light = {name: luminance(rgb) for name, rgb in driver.execute_script(script, names).items()}
        for ground, inks in texts.items():
            for ink in inks:
                low, high = sorted((light[ground], light[ink]))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (dark, ground, ink)


def luminance(rgb: list[int]) -> float:
    """WCAG's relative luminance."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
