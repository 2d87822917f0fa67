"""Makes docs/clients-tested.md of what tests/clients has run: `clients.py DIRECTORY`.

The directory has a file of outcomes for each program. With STENTOR_WRITE_DOCS the page is written,
else it must be what these outcomes make. What has failed in any way is not listed.
"""

import collections
import importlib.metadata
import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "clients-tested.md"
LOCK = ROOT / "tests" / "clients" / "package-lock.json"
SERIALIZERS = ["json", "msgpack", "cbor"]
METHODS = ["anonymous", "ticket", "wampcra", "wamp-scram", "cryptosign"]

# What the tests of features.py are about, in words for users.
FEATURES = {
    "progress": "ask for and send progressive results",
    "cancel": "cancel calls, and be canceled",
    "kill_too_late": "cancel a call whose callee answers all the same",
    "disclosed_call": "the caller is disclosed where it can ask for that, and nowhere else",
    "disclosed_to_callee": "the caller is disclosed where the callee can demand it",
    "chunks_refused": "progressive invocations, refused where the callee has none",
    "best_match": "call the best match of exact, prefix and wildcard registrations",
    "shared": "call shared registrations in turn",
    "timeout": "call with a timeout",
    "events": "subscribe by patterns, learn the topic and the publisher",
}


def outcomes(directory, *programs):
    """Names of tests, each with whether it has passed."""
    found = {}
    for program in programs:
        for line in (directory / f"{program}.tsv").read_text().splitlines():
            outcome, name = line.split("\t", 1)
            found[name] = found.get(name, True) and outcome == "passed"
    return found


def versions():
    """The libraries as the tests call them, with their names and versions."""
    packages = json.loads(LOCK.read_text())["packages"]
    version = {name: packages[f"node_modules/{name}"]["version"] for name in JAVASCRIPT}
    return {"autobahn-python": ("autobahn-python", importlib.metadata.version("autobahn"))} | {
        name: (shown, version[name]) for name, shown in JAVASCRIPT.items()
    }


JAVASCRIPT = {"autobahn": "autobahn-js", "autobahn-22": "autobahn-js", "wampy": "wampy.js"}


def good(found, keys):
    """Those keys of which no test has failed: `keys` tells that of a test's name."""
    whole = collections.defaultdict(lambda: True)
    for name, passed in found.items():
        key = keys(name)
        if key:
            whole[key] &= passed
    return [key for key, passed in whole.items() if passed]


def transports(directory, libraries):
    """Rows: library, version, transport, serializers."""

    def cell(name):
        found = re.match(r"(\S+) (.*)/(json|msgpack|cbor)(\S*) ", name)
        return found and (found[1], found[2].strip() + found[4], found[3])

    programs = ("python", "javascript", "python-tls", "javascript-tls")
    rows = collections.defaultdict(list)
    for library, transport, serializer in good(outcomes(directory, *programs), cell):
        rows[library, transport].append(serializer)
    for library in libraries:
        for (other, transport), serializers in rows.items():
            if other == library:
                yield *libraries[library], transport, sorted(serializers, key=SERIALIZERS.index)


def logins(directory, libraries):
    """Rows: library, version, methods, on which transports each of them."""

    def python(name):
        found = re.match(r"(\S+)/(\S+): (?:wrong )?(\S+)", name)
        return found and ("autobahn-python", f"{found[1]}/{found[2]}", found[3])

    def javascript(name):
        found = re.match(r"(\S+) (\S+): (?:wrong )?(\S+) as", name)
        if not found:
            return None
        way = found[2].removesuffix("Serializer").lower()
        way = "rawsocket/json" if way == "rawsocket" else f"websocket/{way}"
        return (found[1], way, found[3])

    cells = good(outcomes(directory, "logins-python"), python)
    cells += good(outcomes(directory, "logins-javascript"), javascript)
    for library in libraries:
        ways = {way for other, way, _ in cells if other == library}
        methods = []
        for method in METHODS:
            own = {way for other, way, it in cells if (other, it) == (library, method)}
            if own == ways:
                methods.append(method)
            elif own:
                methods.append(f"{method} ({', '.join(sorted(own))})")
        yield *libraries[library], ", ".join(methods), ", ".join(sorted(ways))


def features(directory):
    """Rows: what it is, the libraries that do it on each transport and serializer they have."""
    names = {"python": "autobahn-python"} | {
        name.replace("-", "_"): name for name in JAVASCRIPT
    }

    def cell(name):
        found = re.match(r"(\w+) by (\w+)\.(\S+)", name)
        return found and (found[1], names[found[2]], found[3])

    found = outcomes(directory, "features")
    for test, words in FEATURES.items():
        cells = good({it: ok for it, ok in found.items() if it.startswith(f"{test} by ")}, cell)
        yield words, {library for _, library, _ in cells}


def page(directory):
    libraries = versions()
    lines = [
        "# What was tested",
        "",
        "This page is made from what [the tests with real clients](../tests/clients/README.md) "
        "ran, with every change, against",
        "the release build. What is not here was not tested; it may work all the same.",
        "",
        "## Transports and serializers",
        "",
        "Sessions, publications, subscriptions, calls, registrations, permissions and their errors,"
        " over each of these; `tls` is",
        "the same inside of TLS, `deflate` with compression.",
        "",
        "| library | version | transport | serializers |",
        "|---|---|---|---|",
    ]
    for library, version, transport, serializers in transports(directory, libraries):
        lines.append(f"| {library} | {version} | {transport} | {', '.join(serializers)} |")
    lines += [
        "",
        "## Logins",
        "",
        "Right and wrong ones, by each method that the library has; all sessions of the table "
        "above are anonymous. A token",
        "([JWT](authentication/jwt.md)) is a ticket.",
        "",
        "| library | version | methods | each over |",
        "|---|---|---|---|",
    ]
    for row in logins(directory, libraries):
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "## Features of the Advanced Profile",
        "",
        "Each library with every other one, on each transport and serializer that they have; a "
        "cell is empty where a library has",
        "no way to take part. What each can express stands in [another table]"
        "(../tests/clients/README.md#features).",
        "",
        f"| | {' | '.join(f'{name} {version}' for name, version in libraries.values())} |",
        f"|---|{'---|' * len(libraries)}",
    ]
    for words, able in features(directory):
        cells = ["yes" if library in able else "" for library in libraries]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(directory):
    made = page(directory)
    if "STENTOR_WRITE_DOCS" in os.environ:
        PAGE.write_text(made)
        return 0
    if PAGE.exists() and PAGE.read_text() == made:
        return 0
    (directory / "clients-tested.md").write_text(made)
    print(f"FAIL docs/clients-tested.md is not what ran: see {directory}/clients-tested.md, or let")
    print("STENTOR_WRITE_DOCS=1 tests/clients/run.sh write it")
    return 1


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
