"""A dynamic authorizer as one writes it for crossbar; nothing in it depends on who asks.

Also a program, as crossbar's examples are: it joins `CBREALM` at `CBURL`, with the ticket in
`AUTHORIZER_TICKET`.
"""

import os

import txaio

txaio.use_asyncio()

from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession  # noqa: E402
from autobahn.wamp.exception import ApplicationError  # noqa: E402

SHOP = "com.shop."


class Authorizer(ApplicationSession):
    """Decides what the visitors of a shop may do; `com.shop.clerks` tells who its clerks are."""

    def onConnect(self):
        self.join(self.config.realm, ["ticket"], "authorizer")

    def onChallenge(self, challenge):
        if challenge.method != "ticket":
            raise ValueError(f"no answer to {challenge.method}")
        return os.environ["AUTHORIZER_TICKET"]

    async def onJoin(self, details):
        await self.register(self.authorize, "com.shop.authorize")
        self.log.info("authorizes as {authid}", authid=details.authid)

    async def authorize(self, session, uri, action, options):
        if session["authrole"] != "visitor" or not uri.startswith(SHOP):
            return False
        place, _, owner = uri.removeprefix(SHOP).partition(".")
        if options.get("match", "exact") != "exact":
            return place == "news" and action == "subscribe"
        match place, action:
            case "news", _:
                return {"allow": action == "subscribe", "cache": True}
            case "basket", _:
                return owner == session["authid"]
            case "door", "register":
                return {"allow": owner == session["authid"], "cache": False}
            case "door", "call":
                return {"allow": True, "disclose": False}
            case ("order", "call") | ("wishes", "publish"):
                return {"allow": True, "cache": True, "disclose": True}
            case "stock", _:
                return session["authid"] in await self.call("com.shop.clerks")
            case "cellar", _:
                raise ApplicationError("com.shop.error.locked", "nobody has the key")
        return False


if __name__ == "__main__":
    ApplicationRunner(os.environ["CBURL"], os.environ["CBREALM"]).run(Authorizer)
