"""Joining, leaving and coming back as an autobahn-python application sees it."""

import asyncio

from autobahn.wamp.exception import ApplicationError, SerializationError

from check import check, check_true
from connect import open_session
from nodes import LENIENT_PORTS, PORTS
from pubsub import ACKNOWLEDGE, inbox


async def welcome(cell):
    one, other = await cell.join(), await cell.join()
    check_true(1 <= one.details.session <= 2**53, "session id in range")
    check_true(one.details.session != other.details.session, "session ids differ")
    check(sorted(one._router_roles), ["broker", "dealer"], "roles")
    check(one.details.realm, "realm1", "realm")
    check(one.details.authrole, "anonymous", "authrole")


async def goodbye(cell):
    session, other = await cell.join(), await cell.join()
    await session.register(lambda: None, cell.uri("gone"))
    check(await session.goodbye(), "wamp.close.goodbye_and_out", "reason")
    await other.register(lambda: None, cell.uri("gone"))


async def unknown_realm(cell):
    session = await open_session(cell.transport, cell.serializer, "no.such.realm", cell.unix)
    details = await session.left
    check(details.reason, "wamp.error.no_such_realm", "reason")


async def reconnect(cell):
    """A cut connection frees what the session held; the next session takes it up again."""
    topic, procedure = cell.uri("again.topic"), cell.uri("again.procedure")
    other = await cell.join()
    for turn in range(3):
        session = await cell.join()
        _, events = await inbox(session, topic)
        await register_when_free(session, procedure, turn)
        await other.publish(topic, turn, options=ACKNOWLEDGE)
        heard = (await events.get())[0]
        if len(PORTS) > 1 and heard == [turn - 1]:  # was on its way to this node
            heard = (await events.get())[0]
        check(heard, [turn])
        check(await other.call(procedure), turn)
        session.cut()
        await session.lost


async def register_when_free(session, procedure, value):
    """The router may see the new connection before it notices the end of the old one."""
    for _ in range(100):
        try:
            return await session.register(lambda: value, procedure)
        except ApplicationError as error:
            check(error.error, "wamp.error.procedure_already_exists", "error")
            await asyncio.sleep(0.02)
    raise AssertionError("the procedure of a lost session stays registered")


async def gap_between_request_ids(cell):
    """autobahn counts a request that it then fails to serialize: its next id leaves one out."""
    session = await cell.join(LENIENT_PORTS)
    try:
        session.publish(cell.uri("gap"), object())
    except SerializationError:
        pass
    await session.publish(cell.uri("gap"), options=ACKNOWLEDGE)


TESTS = [welcome, goodbye, unknown_realm, reconnect, gap_between_request_ids]
