"""Runs the clients that docs/authentication shows, against a router with the users it shows.

`docs.py users` prints the users file that the pages make together, `docs.py realms` the realms of
dynamic.md; without an argument every client is run, and has to say that it has joined, and
`docs.py dynamic` runs those of that page. Of several nodes the authenticator is at the first one, and
whom it lets in at the last.
"""

import asyncio
import contextlib
import os
import pathlib
import re
import sys
import tempfile

from check import Report, check_true
from nodes import ports

CLIENTS = pathlib.Path(__file__).resolve().parent.parent
PAGES = CLIENTS.parent.parent / "docs" / "authentication"
URL_SHOWN = "ws://127.0.0.1:8080/ws"
URLS_USED = [f"ws://127.0.0.1:{port}/ws" for port in ports("LOGIN_PORT", "8080")]
JOIN_TIMEOUT_S = 20


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


def users():
    """The entries of all pages; the methods of one user may stand in entries of their own."""
    entries = [block for page in pages() for block in blocks(page, "toml") if "[[user]]" in block]
    return "\n".join(entries)


def realms():
    """The realms that dynamic.md shows."""
    return next(block for block in blocks(PAGES / "dynamic.md", "toml") if "[[realm]]" in block)


def pages():
    return sorted(PAGES.glob("*.md"))


@contextlib.asynccontextmanager
async def started(command, text, expected, url=URLS_USED[0]):
    """A client that has said what is expected, as long as it is needed."""
    check_true(URL_SHOWN in text, "the client names the default address")
    folder = CLIENTS / "node_modules"  # where JavaScript finds the libraries
    with tempfile.NamedTemporaryFile("w", suffix=".mjs", dir=folder) as file:
        file.write(text.replace(URL_SHOWN, url))
        file.flush()
        process = await asyncio.create_subprocess_exec(
            *command, file.name, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        heard = []
        try:
            async for line in process.stdout:
                heard.append(line.decode())
                if expected in heard[-1]:
                    break
            else:
                raise AssertionError(f"{expected!r} is missing in {''.join(heard)[-2000:]}")
            yield
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def client(command, text, expected, url=URLS_USED[0]):
    async with started(command, text, expected, url):
        pass


async def asked(authenticator, applicant):
    """The two clients of dynamic.md: one of them lets the other in."""
    command = [sys.executable]
    async with started(command, authenticator, "role authenticator"):
        await client(command, applicant, "role user", URLS_USED[-1])


async def main(wanted):
    report = Report()
    for page in pages():
        if not page.stem.startswith(wanted):
            continue
        if page.stem == "dynamic":
            await report.run(page.name, asked(*blocks(page, "python")), JOIN_TIMEOUT_S)
            continue
        role = "anonymous" if page.stem == "anonymous" else "user"
        expected = f"role {role}"
        python = [(["python", [sys.executable]], text) for text in blocks(page, "python")]
        javascript = [(["js", ["node"]], text) for text in blocks(page, "js")]
        for (language, command), text in python + javascript:
            name = f"{page.name} {language}"
            await report.run(name, client(command, text, expected), JOIN_TIMEOUT_S)
    return report.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["users"]:
        print(users())
    elif sys.argv[1:] == ["realms"]:
        print(realms())
    else:
        sys.exit(asyncio.run(main("".join(sys.argv[1:]))))
