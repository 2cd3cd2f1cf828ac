"""The page in a browser: it asks for nothing, fits every screen, and needs no mouse."""

import json
import re
import shutil
import subprocess

import pytest

from mlpf_jax.compare import runs
from mlpf_jax.page import contents
from mlpf_jax.study import documents as studies
from tests.page import test_page
from tests.report import documents

render = pytest.importorskip("mlpf_jax.page.html", exc_type=ImportError)
webdriver = pytest.importorskip("selenium.webdriver")
keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
wait = pytest.importorskip("selenium.webdriver.support.wait")

pytestmark = pytest.mark.slow
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
)
WIDTHS = (360, 390, 768, 1280)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Five rows, of which two unfold, one evil, and a study."""
    changes = {
        "app/environment/cpu": "A processor whose name is " + "very " * 30 + "long",
        "report/wl-stats/phases/training/num_unsteady_samples": 2,
        "report/wl-stats/phases/training/sample_power_w": [300.0] * len(test_page.WARM_UP),
    }
    gpu = {"app/devices": documents.GPU * 8, "run_info/extra_arguments": "</script>"}
    reports = [
        documents.report("first.json", training=test_page.WARM_UP, changes=changes),
        documents.report("second.json", training=[rate * 1234.5 for rate in documents.RATES]),
        documents.report("emulated.json", changes={"run_info/is_emulated": True}),
        documents.report("gpu.json", changes=gpu),
        documents.report("x" * 200 + ".json", changes=test_page.changes(test_page.EVIL)),
    ]
    found = contents.Inputs(
        groups=tuple(runs.Group(name=r.source, reports=(r,)) for r in reports),
        studies=(studies.StudyFile(source="study.json", document=test_page.STUDY),),
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render.page(found), encoding="utf-8")
    return path


def version(program):
    """The first number of a program's version; None if it is not here or does not start."""
    if shutil.which(program) is None:
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.\d", done.stdout)
    return found and int(found[1])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    wanted = version("chromedriver")
    fitting = [name for name in BROWSERS if wanted and version(name) == wanted]
    if not fitting:
        pytest.skip(f"chromedriver ({wanted}) and no browser: the page is not tried in one")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which(fitting[0])
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def show(browser):
    """Shows a page at a width; clears earlier messages of the browser."""

    def shown(path, width=1280, scheme="light"):
        browser.get("about:blank")
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        scheme = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": scheme})
        browser.get(path.as_uri())
        return browser

    return shown


def requests(browser):
    """The addresses requested since the page was opened, without blocked ones."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    of = {
        name: [m["params"] for m in messages if m["method"] == f"Network.{name}"]
        for name in ("requestWillBeSent", "loadingFailed")
    }
    held_back = {f["requestId"] for f in of["loadingFailed"] if f.get("blockedReason") == "csp"}
    sent = [r for r in of["requestWillBeSent"] if r["requestId"] not in held_back]
    return {parameters["request"]["url"] for parameters in sent}


def unfold(browser):
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")


def paints(browser):
    """The colours of the page, of a figure's text, and of a line in a figure."""
    return browser.execute_script(
        "const of = (query, name) => getComputedStyle(document.querySelector(query))[name];"
        "return [of('body', 'backgroundColor'), of('.plot text', 'fill'),"
        " of('.plot path[style*=series]', 'stroke')]"
    )


def test_the_browser_has_nothing_to_complain_about_and_asks_for_nothing(page, show):
    browser = show(page)
    unfold(browser)

    assert {url for url in requests(browser) if not url.startswith("data:")} == {page.as_uri()}
    assert browser.get_log("browser") == []
    assert browser.title == "MLPF benchmark"


@pytest.mark.parametrize(
    "planted",
    ["<script>document.title = 'taken'</script>", "<img src='http://evil.example/x.png'>"],
)
def test_injected_content_is_blocked_by_the_policy(page, show, tmp_path, planted):
    path = tmp_path / "planted.html"
    path.write_text(page.read_text(encoding="utf-8").replace("<main", f"{planted}<main"))

    browser = show(path)

    assert browser.title == "MLPF benchmark"
    complaints = [entry["message"] for entry in browser.get_log("browser")]
    assert any("Content Security Policy" in complaint for complaint in complaints)
    assert not any(url.startswith("http") for url in requests(browser))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_screen_needs_scrolling_sideways_but_in_a_tables_own_box(page, show, width):
    browser = show(page, width)
    unfold(browser)

    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    sticking_out = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert sticking_out == []


def test_no_text_of_a_figure_is_cut_off(page, show):
    browser = show(page, 1280)
    unfold(browser)

    cut = browser.execute_script(
        "return [...document.querySelectorAll('.plot text')].filter(text => {"
        " const a = text.getBoundingClientRect(), b = text.closest('svg').getBoundingClientRect();"
        " return a.left < b.left - 2 || a.right > b.right + 2 || a.top < b.top - 2"
        "  || a.bottom > b.bottom + 2"
        "}).map(text => text.textContent + ' in ' + text.closest('svg').textContent.slice(0, 40))"
    )

    assert cut == []


def test_light_and_dark_follow_the_system_and_the_keyboard(page, show):
    dark = paints(show(page, scheme="dark"))
    browser = show(page, scheme="light")
    light = paints(browser)
    assert all(a != b for a, b in zip(light, dark, strict=True))

    browser.execute_script("document.getElementById('theme-auto').focus()")
    browser.switch_to.active_element.send_keys(keys.ARROW_RIGHT, keys.ARROW_RIGHT)

    assert browser.switch_to.active_element.get_attribute("id") == "theme-dark"
    assert paints(browser) == dark
    browser.switch_to.active_element.send_keys(keys.ARROW_LEFT)
    assert paints(browser) == light


def test_the_keyboard_skips_to_the_results_and_reaches_everything(page, show):
    browser = show(page)
    body = browser.find_element("tag name", "body")
    body.send_keys(keys.TAB)
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"

    browser.switch_to.active_element.send_keys(keys.ENTER)

    assert browser.switch_to.active_element.get_attribute("id") == "main"
    wanted = browser.execute_script(
        "return document.querySelectorAll('main a, main summary, main .scroll').length"
    )
    unreached = browser.execute_script(
        "return [...document.querySelectorAll('main a, main summary, main .scroll')]"
        ".filter(e => e.tabIndex < 0).length"
    )
    assert (wanted > 20, unreached) == (True, 0)


def test_a_click_saves_a_result_file_as_it_was(page, show, tmp_path):
    browser = show(page)
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)

    browser.find_element("css selector", "a[download='second.json']").click()

    saved = tmp_path / "second.json"
    wait.WebDriverWait(browser, 30).until(lambda _: saved.exists() and saved.stat().st_size)
    written = documents.document(training=[rate * 1234.5 for rate in documents.RATES])
    assert json.loads(saved.read_text()) == written


def test_on_paper_nothing_is_folded_and_the_ground_is_white(page, show):
    browser = show(page, scheme="dark")

    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})

    folded = "return document.querySelector('details .figures').getBoundingClientRect().height"
    assert browser.execute_script(folded) > 100
    assert (
        browser.execute_script("return getComputedStyle(document.querySelector('.theme')).display")
        == "none"
    )
    assert paints(browser)[1] == "rgb(89, 99, 111)"
