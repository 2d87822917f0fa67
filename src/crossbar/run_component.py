"""Runs one component of a former crossbar node as a process of its own.

    run_component.py component.json

The file says what to run ("classname", or "package" and "entrypoint", or "callbacks" by event),
and where: "realm", "transport" and perhaps "authentication", as autobahn's Component takes them.
"extra" is what the component finds in self.config.extra. It connects again when it is cut off.

Once onJoin has come to its end the component is ready, or some seconds after it joined, as there
are some that work in onJoin for ever. Whoever started the process learns it as systemd does (by
the socket NOTIFY_SOCKET), or by a file, READY_FILE. If onJoin fails, the process ends with an
error, so that it is started anew.
"""

import importlib
import importlib.metadata
import json
import os
import pathlib
import socket
import sys

from autobahn.twisted.component import Component, run
from autobahn.twisted.wamp import Session

ON_JOIN_SECONDS = 5


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


class Watch:
    """What is said to whoever started the process."""

    def __init__(self):
        self.status = 0
        self.file = os.environ.get("READY_FILE")
        if self.file:
            pathlib.Path(self.file).unlink(missing_ok=True)

    def ready(self):
        if self.status == 0:
            if self.file:
                pathlib.Path(self.file).touch()
            self.notify(b"READY=1")

    @staticmethod
    def notify(state):
        address = os.environ.get("NOTIFY_SOCKET")
        if address:
            if address.startswith("@"):
                address = "\0" + address[1:]
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
                datagrams.sendto(state, address)

    def fail(self):
        from twisted.internet import reactor

        if self.status == 0:
            self.status = 1
            reactor.callLater(0, reactor.stop)

    def sessions(self, factory):
        """The factory of sessions that are watched until they are ready."""

        def make_session(config):
            session = factory(config)
            is_ready, say = [], session.onUserError

            def ready(*_):
                if session.is_connected() and not is_ready:
                    is_ready.append(True)
                    self.ready()

            def joined(*_):
                from twisted.internet import reactor

                reactor.callLater(ON_JOIN_SECONDS, ready)

            def failed(failure, message):
                say(failure, message)
                if not is_ready:
                    self.fail()

            session.onUserError = failed
            session.on("join", joined)
            session.on("ready", ready)
            return session

        return make_session


def make(settings, watch):
    options = {key: settings[key] for key in ("authentication", "extra") if key in settings}
    if "classname" in settings:
        factory = load(settings["classname"])
    elif "package" in settings:
        factory = entry_point(settings["package"], settings["entrypoint"])
    else:
        factory = Session
    transport = dict(settings["transport"], max_retries=-1)
    endpoint = transport.get("endpoint")
    if isinstance(endpoint, dict) and isinstance(endpoint.get("port"), str):
        # "$PORT" and its like are variables of the environment, as they were in crossbar.
        port = os.path.expandvars(endpoint["port"])
        transport["endpoint"] = dict(endpoint, port=int(port))
    component = Component(
        transports=[transport],
        realm=settings["realm"],
        session_factory=watch.sessions(factory),
        **options,
    )
    for event, name in settings.get("callbacks", {}).items():
        component.on(event, load(name))
    return component


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    watch = Watch()
    try:
        run([make(settings, watch)])
    except SystemExit as end:
        sys.exit(watch.status or end.code)
    sys.exit(watch.status)


if __name__ == "__main__":
    main()
