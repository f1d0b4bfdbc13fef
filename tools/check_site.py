"""Check a built site: every link, picture, script and style that it names is there, and the search knows each function.

    python tools/check_site.py docs/_build/html
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fastact.comparison.work import FUNCTIONS


class Names(HTMLParser):
    """What a page names: its anchors, and the addresses of links, pictures, scripts and styles."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors, self.addresses = {""}, set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.addresses.add(value)


def faults(site: Path) -> Iterator[str]:
    """Yield what is wrong, in words."""
    pages = {page: Names(page) for page in sorted(site.rglob("*.html")) if "_static" not in page.parts}
    for page, names in pages.items():
        for address in sorted(names.addresses):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.is_file():
                yield f"{page}: {address} is not there"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{page}: {address} has no such anchor"
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for name in FUNCTIONS:
        if not re.search(rf'"{name}"', index):
            yield f"searchindex.js does not have {name}"


def main() -> int:
    """Print what is wrong, and return the exit status."""
    site = Path(sys.argv[1]).resolve()
    if not (site / "index.html").is_file():
        print(f"{site} holds no index.html; accepted is the folder of a built site", file=sys.stderr)
        return 2
    found = list(faults(site))
    print(*found, f"{len(found)} faults", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
