"""Does each link, image and anchor within the built site lead somewhere?

    python docs/check_links.py docs/_build/html

Nothing outside the site is asked for.
"""

import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup


@cache
def parsed(page):
    """Links of a page, and the names that links to it may end in."""
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    links = {tag[a] for a in ("href", "src") for tag in soup.find_all(**{a: True})}
    anchors = {tag["id"] for tag in soup.find_all(id=True)}
    return links, anchors | {"", "top"}


def leads_somewhere(link, page):
    """Whether the file is there and, if it is a page, has the anchor."""
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
    broken = [where for where in links if not leads_somewhere(where[1], where[0])]
    for page, link in broken:
        print(f"{page.relative_to(site)}: {link} leads nowhere")
    print(f"{len(links)} links of {len(pages)} pages, {len(broken)} broken.")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
