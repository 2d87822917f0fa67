"""Runs one component of a former crossbar node as a process of its own.

    run_component.py component.json

The file says what to run ("classname", or "package" and "entrypoint", or "callbacks" by event),
and where: "realm", "transport" and perhaps "authentication", as autobahn's Component takes them.
"extra" is what the component finds in self.config.extra. It connects again when it is cut off.
"""

import importlib
import importlib.metadata
import json
import os
import sys

from autobahn.twisted.component import Component, run


def load(name):
    """The class or function of this name, as in "package.module.Name"."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def entry_point(package, name):
    """What a package has registered for crossbar under this name."""
    for entry in importlib.metadata.distribution(package).entry_points:
        if entry.group == "autobahn.twisted.wamplet" and entry.name == name:
            return entry.load()
    sys.exit(f"{package} has no component {name}")


def make(settings):
    options = {key: settings[key] for key in ("authentication", "extra") if settings.get(key)}
    if "classname" in settings:
        options["session_factory"] = load(settings["classname"])
    elif "package" in settings:
        options["session_factory"] = entry_point(settings["package"], settings["entrypoint"])
    transport = dict(settings["transport"], max_retries=-1)
    endpoint = transport.get("endpoint")
    if isinstance(endpoint, dict) and isinstance(endpoint.get("port"), str):
        # "$PORT" and its like are variables of the environment, as they were in crossbar.
        port = os.path.expandvars(endpoint["port"])
        transport["endpoint"] = dict(endpoint, port=int(port))
    component = Component(transports=[transport], realm=settings["realm"], **options)
    for event, name in settings.get("callbacks", {}).items():
        component.on(event, load(name))
    return component


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        run([make(json.load(file))])
