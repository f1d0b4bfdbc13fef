"""The built documentation in Chromium: `nox -s browser -- FOLDER`, the folder of its HTML."""

import functools
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("selenium")

from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

FOLDER = os.environ.get("FASTACT_TEST_SITE")
pytestmark = pytest.mark.skipif(not FOLDER, reason="no site was given: FASTACT_TEST_SITE=FOLDER")
PAGES = [page for page in sorted(str(path.relative_to(FOLDER)) for path in Path(FOLDER).rglob("*.html"))
         if not page.startswith("_static")] if FOLDER else []  # fmt: skip

BROKEN_PICTURES = """
const done = arguments[0], broken = [];
Promise.all([...document.images].map(image => {
  image.loading = "eager";
  return image.decode().then(() => image.naturalWidth || broken.push(image.src), () => broken.push(image.src));
})).then(() => done(broken));
"""

CUT = """
return [...document.querySelectorAll(".bd-article :is(h1, h2, h3, p, li, dt)")]
  .filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth && !one.closest("table"))
  .map(one => one.textContent);
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=FOLDER)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_loads_and_narrow_screens_cut_nothing_off(page, browser, show, address):
    browser.get(f"{address}/{page}")
    assert browser.execute_async_script(BROKEN_PICTURES) == []
    show(400)
    wide = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    assert browser.execute_script(CUT) == []


def test_search_finds_a_function(browser, show, address):
    browser.get(f"{address}/search.html?q=hard_swish")
    links = WebDriverWait(browser, 30).until(
        lambda browser: browser.find_elements(By.CSS_SELECTOR, "#search-results li a"))
    found = next((link for link in links if "hard_swish" in link.text), None)
    assert found, [link.text for link in links]
    browser.get(found.get_attribute("href"))
    assert "hard_swish" in browser.find_element(By.TAG_NAME, "h1").text
