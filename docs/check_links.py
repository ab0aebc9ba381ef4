"""Check the links, images and anchors within the built site.

    python docs/check_links.py docs/_build/html

Links to other sites are not checked.
"""

import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup


@cache
def parsed(page):
    """Links of a page, and its anchors."""
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    links = {tag[a] for a in ("href", "src") for tag in soup.find_all(**{a: True})}
    anchors = {tag["id"] for tag in soup.find_all(id=True)}
    return links, anchors | {"", "top"}


def is_valid(link, page):
    """Whether the target file exists and, if it is a page, has the anchor."""
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return True
    target = (page.parent / unquote(url.path)).resolve() if url.path else page
    if target.suffix != ".html":
        return target.is_file()
    return target.is_file() and unquote(url.fragment) in parsed(target)[1]


def main(folder):
    site = Path(folder).resolve()
    pages = [p for p in sorted(site.rglob("*.html")) if "_static" not in p.parts]
    if not pages:
        sys.exit(f"No pages in {folder}: build the site first.")
    links = [(page, link) for page in pages for link in sorted(parsed(page)[0])]
    broken = [(page, link) for page, link in links if not is_valid(link, page)]
    for page, link in broken:
        print(f"{page.relative_to(site)}: broken link {link}")
    print(f"{len(links)} links on {len(pages)} pages, {len(broken)} broken.")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
