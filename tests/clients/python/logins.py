"""autobahn-python logs in by every method it has, rightly and wrongly."""

import asyncio
import os
import sys

from autobahn.wamp import auth
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from check import Report, check, check_true
from connect import SERIALIZERS, TRANSPORTS, Client, open_session

PORT = int(os.environ.get("LOGIN_PORT", "8080"))
KEY = os.environ.get("LOGIN_KEY", "")
TICKET = os.environ.get("LOGIN_TICKET", "")
TOKEN = os.environ.get("TOKEN", "")
DENIED = "wamp.error.authentication_denied"


class Applicant(Client):
    """A client that answers as it is told to."""

    method, authid, secret = "anonymous", None, None

    def onConnect(self):
        extra = None
        if self.method == "cryptosign":
            extra = {"pubkey": self.key.public_key().public_bytes_raw().hex()}
        self.join(self.config.realm, [self.method], self.authid, authextra=extra)

    @property
    def key(self):
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.secret))

    def onChallenge(self, challenge):
        check(challenge.method, self.method, "method")
        if self.method == "ticket":
            return self.secret
        if self.method == "cryptosign":
            message = bytes.fromhex(challenge.extra["challenge"])
            return (self.key.sign(message) + message).hex()
        key = self.secret
        if "salt" in challenge.extra:
            extra = challenge.extra
            key = auth.derive_key(key, extra["salt"], extra["iterations"], extra["keylen"])
        return auth.compute_wcs(key, challenge.extra["challenge"])


async def log_in(transport, serializer, method, authid, secret):
    applicant = type("Named", (Applicant,), dict(method=method, authid=authid, secret=secret))
    session = await open_session(transport, serializer, port=PORT, kind=applicant)
    await asyncio.wait({session.joined, session.left}, return_when=asyncio.FIRST_COMPLETED)
    return session


async def joins(transport, serializer, method, authid, secret, role="user"):
    session = await log_in(transport, serializer, method, authid, secret)
    check_true(session.joined.done(), f"joined: {session.left}")
    details = session.joined.result()
    check(details.authmethod, method, "authmethod")
    check(details.authrole, role, "authrole")
    if authid:
        check(details.authid, authid, "authid")
    await session.goodbye()


async def is_denied(transport, serializer, method, authid, secret):
    session = await log_in(transport, serializer, method, authid, secret)
    check_true(session.left.done(), "not joined")
    check(session.left.result().reason, DENIED, "reason")


async def main():
    report = Report()
    other = "11" * 32
    for transport in TRANSPORTS:
        for serializer in SERIALIZERS:
            cell = (transport, serializer)
            name = "/".join(cell)
            run = lambda what, test: report.run(f"{name}: {what}", test)  # noqa: E731
            await run("anonymous", joins(*cell, "anonymous", None, None, "anonymous"))
            for method, authid, secret in [
                ("ticket", "joe", "pencil"),
                ("ticket", "robot", TICKET),
                ("ticket", "joe", TOKEN),
                ("wampcra", "joe", "pencil"),  # salted
                ("wampcra", "jim", "pencil"),  # plain
                ("cryptosign", "keyed", KEY),
                ("cryptosign", None, KEY),
            ]:
                await run(f"{method} as {authid}", joins(*cell, method, authid, secret))
            for method, authid, secret in [
                ("ticket", "joe", "pen"),
                ("ticket", "nobody", "pencil"),
                ("ticket", "robot", TOKEN),
                ("wampcra", "joe", "pen"),
                ("wampcra", "nobody", "pencil"),
                ("cryptosign", "keyed", other),
                ("cryptosign", "nobody", KEY),
                ("cryptosign", None, other),
            ]:
                await run(f"wrong {method} as {authid}", is_denied(*cell, method, authid, secret))
    return report.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
