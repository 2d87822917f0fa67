"""An authorizer that takes its time, and a component that it decides about, started behind it."""

import os

from autobahn.twisted.util import sleep
from autobahn.twisted.wamp import ApplicationSession
from twisted.internet.defer import inlineCallbacks


class Authorizer(ApplicationSession):
    def onConnect(self):
        self.join(self.config.realm, ["ticket"], "authorizer")

    def onChallenge(self, challenge):
        return "pencil"

    @inlineCallbacks
    def onJoin(self, details):
        yield sleep(1)
        yield self.register(lambda *_: True, "org.works.decide")


class Main(ApplicationSession):
    def onConnect(self):
        self.join(self.config.realm, ["ticket"], "app")

    def onChallenge(self, challenge):
        return os.environ["APP_TICKET"]

    @inlineCallbacks
    def onJoin(self, details):
        yield self.register(self.about, "org.works.about")

    def about(self):
        return {"name": os.environ["APP_NAME"], "cbdir": self.config.extra["cbdir"]}


class Broken(Main):
    def onJoin(self, details):
        raise RuntimeError("it cannot begin")


class Restless(Main):
    @inlineCallbacks
    def onJoin(self, details):
        while True:
            yield sleep(1)
