"""Follows the links of a built book: each leads to a file of it, and each anchor to an element."""

import html.parser
import pathlib
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    """The links and ids of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src") and value and tag in ("a", "img", "script", "link"):
                self.links.append(value)


def main(book):
    pages = {path: Page(path) for path in sorted(book.rglob("*.html"))}
    dead, count = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc or path.name in ("404.html", "toc.html"):
                continue
            count += 1
            file = path if not parts.path else (path.parent / parts.path).resolve()
            if file.is_dir():
                file /= "index.html"
            anchor = urllib.parse.unquote(parts.fragment)
            is_there = file.is_file() and file.is_relative_to(book)
            if not is_there or (anchor and file in pages and anchor not in pages[file].ids):
                dead.append(f"{path.relative_to(book)}: {link}")
    print(f"{len(pages)} pages of the book, {count} links, {len(dead)} of them dead")
    print("".join(f"dead: {link}\n" for link in dead), end="")
    return 1 if dead or count < 500 else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
