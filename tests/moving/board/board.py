"""A component as crossbar's containers run it."""

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.types import RegisterOptions
from twisted.internet.defer import inlineCallbacks


class Clock(ApplicationSession):
    @inlineCallbacks
    def onJoin(self, details):
        options = RegisterOptions(details_arg="details")
        yield self.register(self.who, "org.board.who", options=options)

    def who(self, details=None):
        return {"is_disclosed": details.caller is not None}
