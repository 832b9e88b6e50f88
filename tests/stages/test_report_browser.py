"""The report in a real browser, from file://, with every request and every complaint noted."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from report_study import make_study, store

from pipeline.project.paths import REPORT
from stages.report import main

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="chromium and chromedriver are not installed (Debian: chromium, chromium-driver)",
    ),
]
AXE = os.environ.get("PROBELINE_AXE", "")
"""Where axe-core's axe.min.js lies (`npm pack axe-core`): only the test below asks for it."""

HOSTILE = (
    "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
)
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
]


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def open_report(browser):
    browser.get("about:blank")
    browser.get_log("performance")  # the browser's own new-tab page
    browser.get(Path(REPORT).absolute().as_uri())
    end = time.monotonic() + 30
    while not browser.execute_script("return document.documentElement.dataset.ready"):
        assert time.monotonic() < end, browser.get_log("browser")
        time.sleep(0.05)


def wait_for(browser, condition):
    end = time.monotonic() + 60
    while not browser.execute_script(f"return {condition}"):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def draw_all(browser):
    """Figures are drawn when they come near the window, and all of them before printing."""
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    wait_for(browser, "[...document.querySelectorAll('.draw')].every(d => d.dataset.drawn)")


def column(browser, number):
    lines = browser.execute_script(
        "return [...document.querySelectorAll('#scores tbody tr')]"
        f".map(row => row.children[{number}].innerText)"
    )
    return [line.split("\n")[0] for line in lines]


def press(browser, text):
    """Sort by keyboard: focus a header's button and hit Enter."""
    buttons = browser.find_elements("css selector", "#scores thead button")
    next(b for b in buttons if b.text == text).send_keys("\n")


def test_report_works_without_a_network(tmp_path, monkeypatch, browser):
    monkeypatch.chdir(tmp_path)
    store(make_study(words={"backbone": HOSTILE}, title=HOSTILE))
    assert CliRunner().invoke(main).exit_code == 0
    open_report(browser)

    assert browser.get_log("browser") == []
    sent = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    urls = [
        m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"
    ]
    assert [u for u in urls if u.startswith("file:")] == [browser.current_url]
    assert [u for u in urls if not u.startswith(("file:", "data:"))] == []
    assert browser.title == HOSTILE.strip()

    assert not browser.find_elements("css selector", "#correlation svg")  # far below: not drawn

    means = [float(x) for x in column(browser, 1)]
    assert means == sorted(means, reverse=True)
    press(browser, "Mean")
    assert [float(x) for x in column(browser, 1)] == sorted(means)
    head = browser.find_element("css selector", "#scores [aria-sort]")
    assert head.get_attribute("aria-sort") == "ascending"
    press(browser, "Model")
    assert column(browser, 0) == [f"model{i}" for i in range(6)]

    browser.find_element("id", "find").send_keys("MODEL3")
    assert column(browser, 0) == ["model3"]
    browser.find_element("id", "find").clear()
    browser.find_element("id", "find").send_keys("nothing like it")
    assert "No model matches" in browser.find_element("id", "scores").text
    browser.execute_script("document.getElementById('find').value = ''")
    browser.find_element("css selector", "#family option[value='=family2']").click()
    assert column(browser, 0) == ["model2"]

    browser.find_element("css selector", "#family option[value='']").click()
    browser.find_element("css selector", "#role option[value='=out_of_domain']").click()
    titles = [b.text for b in browser.find_elements("css selector", "#scores thead button")]
    assert titles == ["Model", "Mean", "out0", "out1"]

    draw_all(browser)
    before = browser.find_element("css selector", "#correlation svg").get_attribute("innerHTML")
    browser.find_element("css selector", "#coefficient option[value=kendall]").click()
    wait_for(
        browser, f"document.querySelector('#correlation svg').innerHTML !== {json.dumps(before)}"
    )
    before = browser.find_element("css selector", "#scatter_knn svg").get_attribute("innerHTML")
    browser.find_element("css selector", "[data-signal=axes] option[value=logit]").click()
    wait_for(
        browser, f"document.querySelector('#scatter_knn svg').innerHTML !== {json.dumps(before)}"
    )
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(("width", "height"), [(1400, 1000), (360, 740)])
def test_nothing_sticks_out_of_the_page(tmp_path, monkeypatch, browser, width, height):
    monkeypatch.chdir(tmp_path)
    store(make_study(models=8, inside=2, outside=4, variants=3, words={"backbone": "long" * 12}))
    assert CliRunner().invoke(main).exit_code == 0
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    open_report(browser)
    draw_all(browser)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    blank = browser.execute_script(
        "return [...document.querySelectorAll('.draw svg')]"
        ".filter(s => s.getBoundingClientRect().width < 100).map(s => s.closest('.draw').id)"
    )
    assert blank == []
    assert browser.get_log("browser") == []


@pytest.mark.skipif(not AXE, reason="PROBELINE_AXE names no axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_finds_its_way(tmp_path, monkeypatch, browser, scheme):
    """No violation of what axe-core checks, contrast of 4.5 to 1 among it, with all unfolded."""
    monkeypatch.chdir(tmp_path)
    store(make_study(models=5, inside=1, outside=2))
    assert CliRunner().invoke(main).exit_code == 0
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    open_report(browser)
    draw_all(browser)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    browser.execute_script(Path(AXE).read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "axe.run({resultTypes: ['violations']}).then(arguments[0])"
    )
    said = [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in found["violations"]]
    assert said == []


def test_downloads_are_safe_for_spreadsheets(tmp_path, monkeypatch, browser):
    monkeypatch.chdir(tmp_path)
    store(make_study(words={"backbone": "=cmd()"}))
    assert CliRunner().invoke(main).exit_code == 0
    open_report(browser)
    browser.execute_script(
        "window.saved = []; URL.createObjectURL = b => { saved.push(b); return 'data:,'; }"
    )
    buttons = browser.find_elements("css selector", "[data-save=csv], #scores-csv")
    for button in buttons:
        browser.execute_script("arguments[0].click()", button)
    texts = browser.execute_async_script(
        "const done = arguments[0]; Promise.all(saved.map(b => b.text())).then(done)"
    )
    assert len(texts) == len(buttons) > 4
    assert any("'=cmd()" in text for text in texts)
    assert not any(",=cmd()" in text for text in texts)
    assert [text for text in texts if text.count("\r\n") < 2] == []  # one bin is a row, too


def test_less_of_an_error_comes_first_and_what_was_seen_is_marked(tmp_path, monkeypatch, browser):
    monkeypatch.chdir(tmp_path)
    store(make_study(words={"trained_on": ["out0"]}), statistics=False)
    assert CliRunner().invoke(main).exit_code == 0
    open_report(browser)
    titles = browser.find_elements("css selector", "#scores thead tr:last-child th")
    out0 = [title.text.split("\n")[0] for title in titles].index("out0")
    marks = browser.find_elements("css selector", f"#scores td:nth-child({out0 + 1}) .seen")
    words = "trained on it, with its labels"
    assert [mark.accessible_name for mark in marks] == [words] * 6
    told = browser.find_element("id", "scores-seen").text
    assert f"{marks[0].text} {words}" in told
    chosen = "return document.querySelector('#variant :checked').text"
    assert browser.execute_script(chosen).startswith("linear probe")  # which decides
    for name, lowest_first in (("calibration error", True), ("macro F1", False)):
        browser.execute_script(
            "const m = document.getElementById('metric');"
            "m.value = [...m.options].find((o) => o.text === arguments[0]).value;"
            "m.dispatchEvent(new Event('change'));",
            name,
        )
        values = [float(x) for x in column(browser, 1)]
        assert values == sorted(values, reverse=not lowest_first)
        assert len(set(values)) > 1
        assert browser.find_elements("css selector", "#scores tbody tr:first-child td.top")
