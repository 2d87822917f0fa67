"""Remote procedure calls as an autobahn-python application sees them; each test takes a `Cell`."""

import asyncio

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.protocol import Registration
from autobahn.wamp.types import CallResult, RegisterOptions

from check import check, check_error, check_true
from connect import DISCLOSING_REALM
from nodes import PORTS
from pubsub import LARGE_BYTES, LARGE_CHARACTERS, identity, own_identity
from samples import ALL_BYTES, BINARY, SHARED, WIDE

CONCURRENT_CALLS = 200


async def call_shapes(cell):
    """Arguments and results with none, one, several and named values."""
    procedure = cell.uri("shapes")
    callee, caller = await cell.join(), await cell.join()

    def answer(*args, **kwargs):
        return CallResult(*args, **kwargs)

    await callee.register(answer, procedure)
    check(await caller.call(procedure), None)
    check(await caller.call(procedure, 7), 7)
    result = await caller.call(procedure, 1, "two", three=3)
    check((list(result.results), result.kwresults), ([1, "two"], {"three": 3}))
    result = await caller.call(procedure, only="keyword")
    check((list(result.results), result.kwresults), ([], {"only": "keyword"}))


async def call_values(cell):
    procedure = cell.uri("echo")
    callee, caller = await cell.join(), await cell.join()
    await callee.register(lambda value: value, procedure)
    for value in (SHARED, WIDE, BINARY, ALL_BYTES, b"", None, [], {}, "", 0, False, -0.5):
        check(await caller.call(procedure, value), value)


async def large_call(cell):
    procedure = cell.uri("large")
    callee, caller = await cell.join(), await cell.join()
    await callee.register(lambda value: value, procedure)
    for value in ("x" * LARGE_CHARACTERS, b"\xfb" * LARGE_BYTES):
        check(await caller.call(procedure, value), value)


async def own_procedure(cell):
    session = await cell.join()
    await session.register(lambda value: value + 1, cell.uri("own"))
    check(await session.call(cell.uri("own"), 1), 2)


async def error_passes_through(cell):
    procedure = cell.uri("fails")
    callee, caller = await cell.join(), await cell.join()

    def fail(*args, **kwargs):
        raise ApplicationError("com.example.fault", *args, **kwargs)

    await callee.register(fail, procedure)
    error = await check_error(caller.call(procedure, 1, "two", why={"k": [3]}), "com.example.fault")
    check((list(error.args), error.kwargs), ([1, "two"], {"why": {"k": [3]}}))
    error = await check_error(caller.call(procedure, BINARY), "com.example.fault")
    check(list(error.args), [BINARY])
    error = await check_error(caller.call(procedure), "com.example.fault")
    check((list(error.args), error.kwargs), ([], {}))


async def exception_becomes_error(cell):
    callee, caller = await cell.join(), await cell.join()

    def divide(one, other):
        return one / other

    await callee.register(divide, cell.uri("divide"))
    await check_error(caller.call(cell.uri("divide"), 1, 0), "wamp.error.runtime_error")
    check(await caller.call(cell.uri("divide"), 1, 2), 0.5)


async def caller_disclosed_by_the_realm(cell):
    procedure = cell.uri("disclosed")
    callee, caller = [await cell.join(realm=DISCLOSING_REALM) for _ in range(2)]

    def who(details):
        return CallResult(*identity(details, "caller"))

    await callee.register(who, procedure, RegisterOptions(details=True))
    check((await caller.call(procedure)).results, own_identity(caller), "caller")


async def unknown_procedure(cell):
    caller = await cell.join()
    await check_error(caller.call(cell.uri("nowhere"), 1), "wamp.error.no_such_procedure")


async def procedure_taken(cell):
    procedure = cell.uri("taken")
    owner, rival, caller = await cell.join(), await cell.join(), await cell.join()
    await owner.register(lambda: "owner", procedure)
    taken = "wamp.error.procedure_already_exists"
    await check_error(rival.register(lambda: "rival", procedure), taken)
    await check_error(owner.register(lambda: "again", procedure), taken)
    check(await caller.call(procedure), "owner")


async def unregister_frees_the_procedure(cell):
    procedure = cell.uri("freed")
    first, second, caller = await cell.join(), await cell.join(), await cell.join()
    registration = await first.register(lambda: "first", procedure)
    check(await caller.call(procedure), "first")
    await registration.unregister()
    await check_error(caller.call(procedure), "wamp.error.no_such_procedure")
    await second.register(lambda: "second", procedure)
    check(await caller.call(procedure), "second")


async def unregister_under_fire(cell):
    """autobahn closes the connection at an INVOCATION that follows UNREGISTERED."""
    procedure = cell.uri("fire")
    callee, caller = await cell.join(), await cell.join()
    for _ in range(5):
        registration = await callee.register(lambda value: value, procedure)
        calls = [asyncio.ensure_future(caller.call(procedure, n)) for n in range(50)]
        await calls[0]
        await registration.unregister()
        for number, outcome in enumerate(await asyncio.gather(*calls, return_exceptions=True)):
            if isinstance(outcome, ApplicationError):
                check(outcome.error, "wamp.error.no_such_procedure", "error")
            else:
                check(outcome, number, "result")


async def unknown_registration(cell):
    owner, stranger = await cell.join(), await cell.join()
    owned = await owner.register(lambda: "owner", cell.uri("owned"))
    for number in (987654321, owned.id):
        ghost = Registration(stranger, number, "", None)
        stranger._registrations[number] = ghost
        await check_error(stranger._unregister(ghost), "wamp.error.no_such_registration")
    check(await stranger.call(cell.uri("owned")), "owner")


async def reserved_procedure(cell):
    callee = await cell.join()
    answer = callee.register(lambda: None, "wamp.session.count")
    await check_error(answer, "wamp.error.invalid_uri")


async def concurrent_calls(cell):
    """The callee answers in an order of its own."""
    procedure = cell.uri("slow")
    callee, caller = await cell.join(), await cell.join()

    async def answer(number):
        await asyncio.sleep((number * 37 % 20) / 1000)
        return number * number

    await callee.register(answer, procedure)
    calls = [caller.call(procedure, number) for number in range(CONCURRENT_CALLS)]
    check(await asyncio.gather(*calls), [n * n for n in range(CONCURRENT_CALLS)])


async def callee_leaves(cell):
    """Calls in flight end with an error, whether the callee says GOODBYE or just vanishes."""
    procedure = cell.uri("leaves")
    caller = await cell.join()
    for ends in ("goodbye", "cut"):
        callee = await cell.join()
        arrived = asyncio.Event()

        async def never():
            arrived.set()
            await asyncio.sleep(3600)

        await callee.register(never, procedure)
        call = asyncio.ensure_future(caller.call(procedure))
        await arrived.wait()
        if ends == "goodbye":
            await callee.goodbye()
        else:
            callee.cut()
        await check_error(call, "wamp.error.canceled")
        await check_gone(caller, procedure)


async def check_gone(caller, procedure):
    """Another node learns a moment later that a callee has left: until then its calls are
    canceled, as those are that were under way.
    """
    for _ in range(500 if len(PORTS) > 1 else 0):
        try:
            check(await caller.call(procedure), "an error")
        except ApplicationError as error:
            if error.error != "wamp.error.canceled":
                break
        await asyncio.sleep(0.02)
    await check_error(caller.call(procedure), "wamp.error.no_such_procedure")


async def caller_leaves(cell):
    """A result for a caller that is gone is dropped, and the callee works on."""
    procedure = cell.uri("abandoned")
    callee, caller, other = await cell.join(), await cell.join(), await cell.join()
    arrived, release = asyncio.Event(), asyncio.Event()

    async def wait(number):
        arrived.set()
        if number == 1:
            await release.wait()
        return number

    await callee.register(wait, procedure)
    asyncio.ensure_future(caller.call(procedure, 1)).add_done_callback(lambda f: f.exception())
    await arrived.wait()
    caller.cut()
    await caller.lost
    release.set()
    check(await other.call(procedure, 2), 2)
    check_true(callee.id is not None, "callee still joined")


TESTS = [
    call_shapes,
    call_values,
    large_call,
    own_procedure,
    error_passes_through,
    exception_becomes_error,
    caller_disclosed_by_the_realm,
    unknown_procedure,
    procedure_taken,
    unregister_frees_the_procedure,
    unregister_under_fire,
    unknown_registration,
    reserved_procedure,
    concurrent_calls,
    callee_leaves,
    caller_leaves,
]
