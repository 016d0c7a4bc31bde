"""The page of leaderboards in a real browser: Debian's Chromium."""

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from golden import LEADERBOARD
from screenshot import missing, set_screen

from benchmark.reporting.leaderboard import find_runs, make_report, write

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

HOSTILE = "<script>alert(1)</script>"
SSDLITE = "#board0"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write(make_report(find_runs([LEADERBOARD / "runs"]), paper=True), "html", path)
    return path


@pytest.fixture
def driver(started, page):
    """The browser with the page freshly opened and drawn; whatever a test does, the console stays silent."""
    set_screen(started, 1280, 900)
    started.get_log("performance")
    started.get(page.as_uri())
    wait_for_charts(started)
    yield started
    assert started.get_log("browser") == []


def wait_for_charts(driver) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    script = (
        "return [...document.querySelectorAll('.chart:not([hidden])')].every((chart) => chart.querySelector('svg'))"
    )
    WebDriverWait(driver, 20).until(lambda driver: driver.execute_script(script))


def all_texts(driver, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((part) => part.textContent.trim())"
    return driver.execute_script(script, selector)


def find(driver, selector: str):
    return driver.find_element("css selector", selector)


def backbones(driver) -> list[str]:
    """Names of the first table's rows, from above."""
    script = "return [...document.querySelectorAll(arguments[0])].map((cell) => cell.firstChild.textContent.trim())"
    return driver.execute_script(script, f"{SSDLITE} .leaderboard > tbody > tr[data-row] > th")


def heading(driver, text: str):
    headings = driver.find_elements("css selector", f"{SSDLITE} .leaderboard > thead th")
    return next(found for found in headings if " ".join(found.text.split()) == text)


def marks(driver, board: str = SSDLITE) -> list:
    return driver.find_elements("css selector", f"{board} .chart .role-mark.mark-symbol path")


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


def sort_by(driver, text: str) -> str | None:
    """Click on a heading and return how it says that it is sorted then."""
    from selenium.webdriver.support.wait import WebDriverWait

    before = heading(driver, text).get_attribute("aria-sort")
    heading(driver, text).click()
    WebDriverWait(driver, 5).until(lambda driver: heading(driver, text).get_attribute("aria-sort") != before)
    return heading(driver, text).get_attribute("aria-sort")


def test_headings_sort_and_rows_without_a_value_stay_last(driver):
    assert backbones(driver) == ["rexnet_x1.0", "efficientnet_b0", HOSTILE, "mobilenet_v2"]
    by_params = [HOSTILE, "mobilenet_v2", "rexnet_x1.0", "efficientnet_b0"]
    for order, expected in (("ascending", by_params), ("descending", by_params[::-1])):
        assert (sort_by(driver, "params (M)"), backbones(driver)) == (order, expected)
    assert sort_by(driver, "AP") == "descending"  # the best first
    assert heading(driver, "params (M)").get_attribute("aria-sort") is None
    for expected in (["rexnet_x1.0", "efficientnet_b0"], ["efficientnet_b0", "rexnet_x1.0"]):
        sort_by(driver, "latency (ms), batch 1")
        assert backbones(driver)[:2] == expected  # the other two were not timed


def test_headings_sort_from_the_keyboard(driver):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    button = heading(driver, "backbone").find_element("css selector", "[tabindex='0']")
    button.send_keys(Keys.ENTER)
    WebDriverWait(driver, 5).until(lambda driver: heading(driver, "backbone").get_attribute("aria-sort") == "ascending")
    assert backbones(driver)[1:] == ["efficientnet_b0", "mobilenet_v2", "rexnet_x1.0"]


def test_tasks_and_names_filter(driver):
    assert len(shown_titles(driver)) == 4
    find(driver, "label:has([name=task][value=mask_rcnn])").click()
    assert shown_titles(driver) == ["Mask R-CNN + FPN, coco2017 val2017"]
    find(driver, "label:has([name=task][value=''])").click()
    find(driver, "#backbone").send_keys("EfficientNet")
    assert shown_titles(driver) == ["SSDLite, coco2017 val2017"] and backbones(driver) == ["efficientnet_b0"]
    find(driver, "#backbone").send_keys("!")
    assert shown_titles(driver) == [] and find(driver, "#nothing").is_displayed()


def test_hovering_names_a_run_with_its_figures(driver):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.wait import WebDriverWait

    labelled = {mark.get_attribute("aria-label"): mark for mark in marks(driver)}
    mark = next(mark for label, mark in labelled.items() if "efficientnet_b0" in label)
    ActionChains(driver).move_to_element(mark).perform()
    WebDriverWait(driver, 5).until(lambda driver: find(driver, "#vg-tooltip-element").is_displayed())
    tip = find(driver, "#vg-tooltip-element").text
    assert tip.startswith("efficientnet_b0") and "23.5 [22.9, 24.0]" in tip and "efficientnet_interval" in tip


def test_every_mark_is_named_on_the_chart_and_reads_its_figures(driver):
    names = all_texts(driver, f"{SSDLITE} .chart .mark-text text")
    labels = [mark.get_attribute("aria-label") for mark in marks(driver)]
    own = [label for label in labels if "measured here" in label or "partial" in label]
    assert len(own) == 4 and len([label for label in labels if "the paper's" in label]) == 10
    assert {"rexnet_x1.0", "efficientnet_b0", "mobilenet_v2", HOSTILE} <= set(names)


def test_a_chart_for_each_cost(driver):
    labels = driver.find_elements("css selector", f"{SSDLITE} .costs label")
    assert [label.text for label in labels] == [
        "multiply-adds (B)", "params (M)", "latency (ms), batch 1", "latency (ms), batch 8",
    ]  # fmt: skip
    labels[1].click()
    wait_for_charts(driver)
    assert "params (M)" in all_texts(driver, f"{SSDLITE} .chart .role-axis-title text")


def test_the_columns_that_matter_fit_the_screen(driver):
    widths = driver.execute_script(
        "return [document.documentElement.scrollWidth,"
        " ...[...document.querySelectorAll('.leaderboard')].map((table) => table.getBoundingClientRect().right)]"
    )
    assert max(widths) <= 1280, widths
    assert all(chart.size["width"] > 1100 for chart in driver.find_elements("css selector", ".chart svg"))


def test_seeds_unfold(driver):
    button = find(driver, f"{SSDLITE} .unfold")
    assert button.text == "2 runs" and not driver.find_elements("css selector", f"{SSDLITE} .member")
    button.click()
    members = driver.find_elements("css selector", f"{SSDLITE} .member")
    assert button.get_attribute("aria-expanded") == "true" and "rexnet_seed1" in members[1].text
    assert len(members) == 2 and "100" in members[0].text  # with what the table has no room for: iterations
    button.click()
    assert not driver.find_elements("css selector", f"{SSDLITE} .member")


def test_links_lead_to_the_files_of_the_run(driver):
    find(driver, f"{SSDLITE} .unfold").click()
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
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390


def test_a_hostile_name_is_only_text(driver):
    from selenium.common.exceptions import NoAlertPresentException

    assert HOSTILE in " ".join(all_texts(driver, "tbody th"))
    assert HOSTILE in all_texts(driver, f"{SSDLITE} .chart .mark-text text")
    with pytest.raises(NoAlertPresentException):
        _ = driver.switch_to.alert
    assert driver.execute_script("return [document.scripts.length, document.images.length]") == [2, 0]


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
