"""Two components as crossbar runs them: who customers are, and what they can do."""

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import inlineCallbacks


class Authenticator(ApplicationSession):
    @inlineCallbacks
    def onJoin(self, details):
        yield self.register(self.authenticate, "org.shop.authenticate")

    def authenticate(self, realm, authid, details):
        if (authid, details["ticket"]) != ("joe", "secret"):
            raise ApplicationError("org.shop.unknown_customer", f"{authid} is no customer")
        return {"role": "customer", "extra": {"since": 2014}}


class Backend(ApplicationSession):
    @inlineCallbacks
    def onJoin(self, details):
        self.orders = []
        yield self.register(self.greet, "org.shop.greet")
        yield self.register(lambda: self.orders, "org.shop.orders")
        yield self.subscribe(self.orders.append, "org.shop.order")

    def greet(self, name):
        return f"{self.config.extra['greeting']}, {name}"
