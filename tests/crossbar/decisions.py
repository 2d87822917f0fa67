"""Asks crossbar's own code what it decides about the rules of the configurations beside this file,
and of random ones, and prints it as JSON:

    python decisions.py > decisions.json

It needs `pip install crossbar pyyaml`. Rules in the old form, which crossbar does not read any more,
are asked about as they were meant.
"""

import json
import pathlib
import random
import re

import crossbar
import yaml
from crossbar.router.role import RouterRoleStaticAuth

ACTIONS = ["publish", "subscribe", "call", "register"]
VALID = re.compile(r"^[^\s.#]+(\.[^\s.#]+)*$")


def normal(rule):
    """The rule with its actions below `allow`."""
    known = {key: rule[key] for key in ("uri", "match", "allow", "disclose") if key in rule}
    flat = {action: rule[action] for action in ACTIONS if action in rule}
    if "allow" not in rule and flat:
        known["allow"] = flat
    return known


def probes(rules):
    """URIs around those of the rules: their own, longer ones, and shorter ones."""
    found = {"zz.unrelated"}
    for rule in rules:
        uri = rule["uri"].replace("*", "x" if "match" not in rule else "*")
        filled = ".".join(part or "x" for part in uri.split(".")) if uri else "x"
        bare = uri.rstrip(".")
        for base in {filled, bare}:
            found |= {base, base + "y", base + ".y", base + ".y.z", base.rpartition(".")[0]}
            found |= {base.rpartition(".")[0] + ".y"}
    return sorted(uri for uri in found if VALID.match(uri))


def decide(rules, uris):
    """For each URI the first letters of what is allowed."""
    role = RouterRoleStaticAuth(None, "role", [normal(rule) for rule in rules])
    may = lambda uri, action: role.authorize(None, uri, action, {})["allow"]
    return {uri: "".join(a[0] for a in ACTIONS if may(uri, a)) for uri in uris}


def of_file(path):
    text = path.read_text()
    node = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    realms = {}
    for worker in node["workers"]:
        for realm in worker.get("realms", []):
            for role in realm.get("roles", []):
                rules = role.get("permissions", [])
                if "authorizer" not in role:
                    decided = decide(rules, probes(rules))
                    realms.setdefault(realm["name"], {})[role["name"]] = decided
    return realms


def random_rules(draw):
    """Rules whose URIs lie close to each other."""

    def uri(kind):
        parts = [draw.choice(["a", "b", "ab"]) for _ in range(draw.randint(1, 4))]
        if kind == "wildcard":
            for place in range(len(parts)):
                if draw.random() < 0.4:
                    parts[place] = ""
        text = ".".join(parts)
        if kind == "prefix":
            text = draw.choice([text, text + ".", ""])
        return text

    rules = []
    for _ in range(draw.randint(1, 6)):
        kind = draw.choice(["exact", "exact", "prefix", "prefix", "wildcard"])
        allow = {action: draw.random() < 0.5 for action in ACTIONS}
        rule = {"uri": uri(kind), "match": kind, "allow": allow}
        if draw.random() < 0.2:
            del rule["match"]
            rule["uri"] = draw.choice(["", "a", "a.b", "a.*", "*", "a.*.b", "*.b", "a*"])
        rules.append(rule)
    return rules


def main():
    folder = pathlib.Path(__file__).parent / "configs"
    files = {path.name: of_file(path) for path in sorted(folder.iterdir())}
    draw = random.Random(13)
    drawn = []
    for _ in range(400):
        rules = random_rules(draw)
        uris = probes(rules) + ["a", "a.b", "a.b.a", "ab.b.a", "b", "a.ab.b", "a.b.b.a"]
        drawn.append({"rules": rules, "decisions": decide(rules, sorted(set(uris)))})
    decided = {"crossbar": crossbar.__version__, "files": files, "random": drawn}
    print(json.dumps(decided, separators=(",", ":")))


main()
