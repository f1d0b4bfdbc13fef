"""The page of ``fastact explore`` in Chromium: what it draws is what NumPy computes. `nox -s browser` runs this."""

import math
import re
import threading

import numpy as np
import pytest

from fastact import _isa

webdriver = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402


@pytest.fixture(scope="module")
def address():
    from fastact.commands.explore import Server

    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Page:
    """The page, and what a user does with it."""

    def __init__(self, browser, address):
        self.browser = browser
        browser.get(address)
        self.wait()

    def wait(self):
        WebDriverWait(self.browser, 60, 0.02).until(
            lambda browser: browser.find_element(By.TAG_NAME, "main").get_attribute("aria-busy") == "false")

    def find(self, css):
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def choose(self, *names):
        """Search each function, and tick it; untick all others."""
        self.write("#search", "")
        for box in self.browser.find_elements(By.CSS_SELECTOR, "#functions input:checked"):
            box.click()
        for name in names:
            self.write("#search", name)
            self.find(f"#functions input[value={name}]").click()
        self.wait()

    def write(self, css, text):
        field = self.find(css)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.BACKSPACE, text, Keys.TAB)
        self.wait()

    def select(self, css, name):
        Select(self.find(css)).select_by_value(name)
        self.wait()

    def drag(self, css, pixels):
        """Drag the knob of a slider."""
        slider = self.find(css)
        low, high, value = (float(slider.get_attribute(name)) for name in ("min", "max", "value"))
        half = slider.size["width"] / 2 - 8  # the knob has a width of 16
        start = round(half * (2 * (value - low) / (high - low) - 1))
        actions = webdriver.ActionChains(self.browser, duration=50)
        actions.move_to_element_with_offset(slider, start, 0).click_and_hold()
        for _ in range(4):
            actions.move_by_offset(pixels // 4, 0)
        actions.release().perform()
        self.wait()

    def answer(self, k=0):
        """What the page has of one function, as arrays."""
        answer = self.browser.execute_script(f"return state.answers[{k}]")
        own = answer["libraries"]["fastact"]
        return np.array(answer["x"]), np.array(own["value"]["y"]), np.array(own["derivative"]["y"]), answer

    def drawn(self, chart):
        """The points of the curve of fastact, in pixels."""
        path = self.find(f"#{chart} path.own").get_attribute("d")
        return np.array(re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path), float).T

    def number(self, label):
        return float(self.find(f"#{label}").get_attribute("value"))


@pytest.fixture
def page(browser, show, address):
    return Page(browser, address)


def check_drawn(page, chart, y):
    """What is drawn has the shape of y: a straight line leads from numbers to pixels."""
    across, down = page.drawn(chart)
    assert len(down) == len(y)
    slope, offset = np.polyfit(y, down, 1)
    assert slope < 0
    np.testing.assert_allclose(down, slope * y + offset, atol=0.02)
    assert np.ptp(np.diff(across)) < 0.03


def test_a_dragged_slider_draws_what_numpy_computes(page):
    page.choose("silu")
    page.select("#dtype", "float64")
    before = page.drawn("value")
    page.drag("#silu-beta-slider", 40)
    beta = page.number("silu-beta")
    assert 1.2 < beta < 4
    x, value, derivative, answer = page.answer()
    assert answer["dtype"] == "float64"
    s = 1 / (1 + np.exp(-beta * x))
    np.testing.assert_allclose(value, x * s, rtol=1e-14)
    np.testing.assert_allclose(derivative, s * (1 + beta * x * (1 - s)), rtol=1e-11, atol=1e-15)
    assert not np.array_equal(before, page.drawn("value"))
    check_drawn(page, "value", x * s)
    check_drawn(page, "derivative", s * (1 + beta * x * (1 - s)))
    page.find("#parameters button").click()
    page.wait()
    assert page.number("silu-beta") == 1
    np.testing.assert_array_equal(before, page.drawn("value"))


def test_the_range_is_dragged_and_written(page):
    page.choose("tanh")
    page.drag("#high-slider", 24)
    assert page.number("high") > 5
    page.write("#low", "-2.5")
    x, value, _, _ = page.answer()
    assert (x[0], x[-1]) == (-2.5, np.float32(page.number("high")))
    np.testing.assert_allclose(value, np.tanh(x), rtol=1e-6)
    page.write("#low", "100")
    assert page.find("#status.wrong").text.startswith("low is 100 and high is")
    page.write("#low", "many")
    assert page.find("#status.wrong").text == "low is 'many'; accepted is a number"
    page.write("#low", "-1")
    assert page.find("#status").text == ""
    refusals = page.browser.get_log("browser")  # Chromium logs them
    assert len(refusals) == 2
    assert all("status of 400" in one["message"] for one in refusals)


def test_the_picture_is_dragged(page):
    page.choose("relu")
    chart = page.find("#value")
    webdriver.ActionChains(page.browser, duration=50).drag_and_drop_by_offset(chart, 100, 0).perform()
    page.wait()
    x, value, derivative, _ = page.answer()
    assert x[0] < -3.5
    assert x[-1] - x[0] == pytest.approx(6, abs=1e-4)
    np.testing.assert_array_equal(value, np.maximum(x, 0))
    np.testing.assert_array_equal(derivative, x >= 0)
    assert page.find("#derivative path.own").get_attribute("d").count("M") == 2  # a gap at the kink


@pytest.mark.parametrize("isa", _isa.SUPPORTED)
def test_errors_beside_numpy_on_every_instruction_set(page, isa):
    page.choose("gelu")
    page.select("#isa", isa)
    page.write("#low", "-13")
    x, value, _, answer = page.answer()
    assert answer["isa"] == isa
    exact = np.array([0.5 * one * math.erfc(-one / math.sqrt(2)) for one in x])
    np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-42)
    largest = page.browser.find_elements(By.CSS_SELECTOR, "#numbers tbody td:nth-child(4)")
    own, numpy = (float(one.text) for one in largest)
    assert 0.4 < own <= answer["promised"]["value"] < 50 < numpy
    assert len(page.browser.find_elements(By.CSS_SELECTOR, "#value-error path.dots")) == 2
    page.find("#libraries input[value=NumPy]").click()
    page.wait()
    assert len(page.browser.find_elements(By.CSS_SELECTOR, "#value-error path.dots")) == 1


def test_several_functions_share_a_picture(page):
    page.choose("hard_swish", "silu", "softmax", "swiglu")
    names = [one.text for one in page.browser.find_elements(By.CSS_SELECTOR, "#numbers tbody th")]
    assert names == ["hard_swish", "silu", "softmax", "swiglu"]
    assert len(page.browser.find_elements(By.CSS_SELECTOR, "#value path.curve")) == 4
    page.write("#search", "")
    assert not page.find("#functions input[value=relu]").is_enabled()
    assert not page.find("#libraries input[value=NumPy]").is_enabled()
    page.choose()
    assert page.find("#status").text == "Choose a function."


def test_a_hidden_picture_is_drawn_when_it_is_shown(page):
    page.choose("tanh")
    before = page.drawn("value")
    for display in "none", "":
        page.browser.execute_async_script("""
            document.querySelector("main").style.display = arguments[0];
            requestAnimationFrame(() => requestAnimationFrame(arguments[1]))""", display)
    np.testing.assert_array_equal(before, page.drawn("value"))


def test_the_keyboard_reads_numbers(page):
    page.choose("sigmoid")
    page.find("#cursor").send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    x, value, derivative, _ = page.answer()
    cells = [one.text for one in page.browser.find_elements(By.CSS_SELECTOR, "#numbers tbody tr:first-child td")]
    shown = [float(text.replace("−", "-")) for text in cells]
    np.testing.assert_allclose(shown[::3], [value[2], derivative[2]], rtol=1e-8)
    assert page.find("#numbers caption").text == f"At x = {x[2]:.9g}".replace("-", "−")
    named = page.browser.execute_script("""
        return [...document.querySelectorAll("input, select")].filter(one => !one.labels.length &&
            !one.ariaLabel).map(one => one.id)""")
    assert named == []


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_page_fits_and_is_legible(page, show, width, colours):
    show(width, colours)
    page.choose("hard_sigmoid", "xielu")
    fits, panel, text = page.browser.execute_script("""
        const {backgroundColor, color} = getComputedStyle(document.querySelector("fieldset"));
        const light = color => color.match(/[0-9.]+/g).slice(0, 3).reduce((sum, one) => sum + Number(one) / 765, 0);
        return [document.documentElement.scrollWidth <= innerWidth, light(backgroundColor), light(color)]""")
    assert fits
    assert (panel - text > 0.6) == (colours == "light")
    assert abs(panel - text) > 0.6
