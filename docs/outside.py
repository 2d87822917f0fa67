"""A preprocessor of mdBook: what pages say of files outside of the book.

A page that consists of `{{#include ../NAME.md}}` gets that file, with its links. A link to a file
that is a page of the book leads to that page; one to any other file becomes its text, with the
file's path, as the book has no copy of it.
"""

import json
import pathlib
import posixpath
import re
import sys

BOOK = pathlib.Path(__file__).resolve().parent
ROOT = BOOK.parent
INCLUDE = re.compile(r"^\{\{#include (\.\./[\w./-]+\.md)\}\}$", re.M)
LINK = re.compile(r"(!?)\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\(([^()\s]+)\)")


def included():
    """The pages that stand for files outside: `SECURITY.md` by `docs/security.md`."""
    pages = {}
    for path in BOOK.glob("*.md"):
        found = INCLUDE.search(path.read_text())
        if found:
            pages[posixpath.normpath(posixpath.join("docs", found[1]))] = f"docs/{path.name}"
    return pages


def rewrite(text, page, base, pages, stands_for):
    """Makes the links of `text`, which are relative to the folder `base`, right for `page`."""

    def replace(match):
        is_picture, words, target = match.groups()
        if re.match(r"[a-z]+:|#|/", target):
            return match[0]
        file, _, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(base, file))
        file = stands_for.get(file, file)
        is_there = file in pages or (file.startswith("docs/") and (ROOT / file).is_file())
        if not is_there:
            return words if f"`{file}`" in words else f"{words} (`{file}`)"
        path = posixpath.relpath(file, posixpath.dirname(page))
        if file in pages and posixpath.basename(path) == "README.md":
            path = posixpath.join(posixpath.dirname(path), "index.md")
        return f"{is_picture}[{words}]({path}{'#' if anchor else ''}{anchor})"

    lines, is_code = [], False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            # What stands between backticks, but within the words of a link, is code.
            line = LINK.sub(replace, line)
        lines.append(line)
    return "\n".join(lines)


def chapters(items):
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            yield item["Chapter"]
            yield from chapters(item["Chapter"]["sub_items"])


def main():
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    _, book = json.load(sys.stdin)
    found = [chapter for chapter in chapters(book["items"]) if chapter["source_path"]]
    pages = {f"docs/{chapter['source_path']}" for chapter in found}
    stands_for = included()
    for chapter in found:
        page = f"docs/{chapter['source_path']}"
        text, base = chapter["content"], posixpath.dirname(page)
        include = INCLUDE.search(text)
        if include:
            text = (BOOK / include[1]).read_text()
            base = posixpath.dirname(posixpath.normpath(posixpath.join("docs", include[1])))
        chapter["content"] = rewrite(text, page, base, pages, stands_for)
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
