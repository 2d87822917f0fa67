"""The Advanced Profile across libraries: what one of them sends, every other must understand.

A test is written once, for peers of any library; `Library` says what a library cannot do. An
argument, part of a test's name, picks some of them. With several nodes there is a peer of each kind
at each of them, and whoever calls has callees at other nodes; events are for all.
"""

import asyncio
import sys

from check import Report, check, check_true
from nodes import PORTS, around
from peers import GIVEN_UP, Remote, join_all

CANCELED = "wamp.error.canceled"
TIMED_OUT = "wamp.error.timeout"
TIMEOUT_MS = 100
LONG_TIMEOUT_MS = 60_000
TOPICS = "org.features.topic"
SUBSCRIPTIONS = {"exact": f"{TOPICS}.a.b", "prefix": f"{TOPICS}.a", "wildcard": f"{TOPICS}..b"}


async def progress(caller, callee):
    """AP-PCR-01, AP-PCR-02, AP-PCR-04: partial results in order, for callers that ask for them."""
    for asked in (True, False):
        outcome = await caller.call(callee.uri("count"), 3, progress=asked)
        partials = [{"args": [number], "kwargs": {"of": 3}} for number in (1, 2, 3)]
        partials.append({"args": [], "kwargs": {}})
        heard = partials if asked else []
        check(outcome, returned("end", 3, partials=heard), f"asked: {asked}")


async def cancel(caller, callee):
    """AP-CAN-01, AP-CAN-02, AP-CAN-03: in every mode that the caller's library can express."""
    for mode in caller.library.cancel_modes:
        call = await waiting(caller, callee, "wait")
        await caller.cancel(mode)
        check(await call, failed(told(caller, callee, mode)), f"mode {mode}")
        await check_interrupt(caller, callee, mode)


async def cancel_and_break(caller, peers):
    """The callee meets the same if the caller's library drops its connection over the answer."""
    for callee in one_of_each_library(caller, peers):
        for mode in caller.library.breaking_modes:
            call = await waiting(caller, callee, "wait")
            await caller.cancel(mode)
            check(await call, failed("Cancelled"), f"mode {mode}")
            await caller.lost()
            await caller.join()
            await check_interrupt(caller, callee, mode)


cancel_and_break.suits = lambda library: library.breaking_modes


async def check_interrupt(caller, callee, mode):
    await still_there(caller, callee)
    await callee.release()  # whose answer comes too late
    await still_there(caller, callee)
    interrupted = callee.library.is_interrupted and mode != "skip"
    expected = ["interrupted"] if interrupted else []
    check(callee.take_reports(), expected, f"seen by {callee.name}, mode {mode}")


def told(caller, callee, mode):
    if caller.library.name == "autobahn-python":
        return GIVEN_UP  # by its own application, which is not told what the router answers
    if mode == "kill" and callee.library.is_interrupted:
        return "wamp.error.runtime_error"  # autobahn-python's answer to INTERRUPT, AP-CAN-07
    return CANCELED


async def kill_too_late(caller, callee):
    """AP-CAN-01: `kill` waits for the callee, which may have a result all the same."""
    if callee.library.is_interrupted:
        call = await waiting(caller, callee, "finish")
        await caller.cancel("kill")
        check(await call, returned("finished"))
        check(callee.take_reports(), ["interrupted"], "seen by the callee")


kill_too_late.suits = lambda library: "kill" in library.cancel_modes


async def disclosed_call(caller, callee):
    """AP-CID-01, AP-CID-05: who calls is told where the caller wants it, and nowhere else."""
    procedure = callee.uri("who")
    for asked in (True, False) if caller.library.asks_disclosure else (False,):
        options = {"disclose_me": True} if asked else {}
        expected = answer(callee, procedure, "exact", caller if asked else None)
        check(await caller.call(procedure, **options), expected, f"asked: {asked}")


async def disclosed_to_callee(caller, callee):
    """AP-CID-02: or where the callee wants it."""
    if callee.library.demands_disclosure:
        procedure = callee.uri(f"demands.{caller.name}")
        await callee.register(procedure, "who", disclose_caller=True)
        check(await caller.call(procedure), answer(callee, procedure, "exact", caller))


async def chunks_refused(caller, callee):
    """AP-PCI-04: to a callee that announces no progressive calls; see js/invocations.mjs."""
    outcome = await caller.call_in_chunks(callee.uri("wait"))
    check(outcome, failed("wamp.error.feature_not_supported"))
    await still_there(caller, callee)
    check(callee.take_reports(), [], "seen by the callee")


chunks_refused.suits = lambda library: library.sends_chunks


async def events(publisher, peers):
    """AP-PBS-01, AP-PBS-02, AP-PBS-03, AP-PID-01, AP-PID-03: one for each subscription."""
    matches = {
        "a.b": ["exact", "prefix", "wildcard"],
        "a.c": ["prefix"],
        "ab.b": ["prefix", "wildcard"],
        "a.b.c": ["prefix"],
        "x.b": ["wildcard"],
        "x.c": [],
    }
    subscribers = [peer for peer in peers if peer is not publisher]
    for asked in (True, False) if publisher.library.asks_disclosure else (False,):
        options = {"disclose_me": True} if asked else {}
        identity = identified("publisher", publisher if asked else None)
        for name, subscriptions in matches.items():
            topic = f"{TOPICS}.{name}"
            publication = await publisher.publish(topic, name, **options)
            for peer in subscribers:
                seen = [await peer.report() for _ in subscriptions]
                number = publication if peer.library.tells_publication else None
                expected = [
                    {"match": match, "topic": peer.told_uri(topic, match), **identity}
                    | {"args": [name], "publication": number}
                    for match in subscriptions
                ]
                check(sorted(seen, key=lambda event: event["match"]), expected, peer.name)
    await no_reports(publisher, peers)


async def subscribe_all(peers):
    for peer in peers:
        for match, topic in SUBSCRIPTIONS.items():
            await peer.subscribe(topic, match)


async def best_match(caller, peers):
    """AP-PBR-02, AP-PBR-04, AP-PBR-06: much like the specification's table; callees take turns."""
    base = f"org.features.best.{caller.name}"
    patterns = [
        ("exact", "a1.b2.c3.d4.e55", "a1.b2.c3.d4.e55"),
        ("prefix", "a1.b2.c3", "a1.b2.c3.d98.e74"),
        ("prefix", "a1.b2.c3.d4", "a1.b2.c3.d4.e325"),
        ("prefix", "a1.b2.c33", "a1.b2.c33.d4.e5"),
        ("wildcard", "a1.b2..d4.e5", "a1.b2.c55.d4.e5"),
        ("wildcard", "a1.b2.c9..e5", "a1.b2.c9.d4.e5"),
        ("wildcard", "a1.b2..d4.e5..g7", "a1.b2.c88.d4.e5.f6.g7"),
        ("wildcard", "a1.b2..d4..f6.g7", "a1.b2.c88.d4.x5.f6.g7"),
    ]
    callees = [peers[(caller.number + step) % len(peers)] for step in range(len(patterns))]
    for callee, (match, pattern, _) in zip(callees, patterns):
        await callee.register(f"{base}.{pattern}", "who", match=match)
    for callee, (match, pattern, called) in zip(callees, patterns):
        expected = answer(callee, f"{base}.{called}", match)
        check(await caller.call(f"{base}.{called}"), expected, f"{match} {pattern}")
    outcome = await caller.call(f"{base}.a2.b2.c2.d2.e2")
    check(outcome, failed("wamp.error.no_such_procedure"))


async def shared(caller, peers):
    """AP-SHR-01, AP-SHR-02, AP-SHR-04: four callees, one of each library."""
    callees = one_of_each_library(caller, peers)
    first, *_, last = callees
    policies = {"roundrobin": callees * 2, "first": [first] * 4, "last": [last] * 4}
    for invoke, answering in policies.items():
        procedure = f"org.features.shared.{invoke}.{caller.name}"
        for callee in callees:
            await callee.register(procedure, "who", invoke=invoke)
        for number, callee in enumerate(answering):
            expected = answer(callee, procedure, "exact")
            check(await caller.call(procedure), expected, f"{invoke}, call {number}")


async def timeout(caller, peers):
    """AP-TMO-01, AP-TMO-02: the router gives up, and interrupts whom it can."""
    calls = [caller.call(peer.uri("wait"), timeout=TIMEOUT_MS) for peer in peers]
    for callee, outcome in zip(peers, await asyncio.gather(*calls)):
        check(outcome, failed(TIMED_OUT), callee.name)
        outcome = await caller.call(callee.uri("count"), 1, timeout=LONG_TIMEOUT_MS)
        check(outcome, returned("end", 1), f"result of {callee.name}, in time")
        await callee.release()  # whose answer comes too late
        await still_there(caller, callee)
        expected = ["waiting", "interrupted"] if callee.library.is_interrupted else ["waiting"]
        check(callee.take_reports(), expected, f"seen by {callee.name}")


async def waiting(caller, callee, endpoint):
    """A call that has reached its callee, which keeps the caller waiting."""
    call = asyncio.ensure_future(caller.call(callee.uri(endpoint)))
    check(await callee.report(), "waiting", "seen by the callee")
    return call


async def still_there(caller, callee):
    """Messages of a pair keep their order: what was sent to either before has come by now."""
    expected = answer(callee, callee.uri("who"), "exact")
    check(await caller.call(callee.uri("who")), expected, "afterwards")


def one_of_each_library(caller, peers):
    """Another one for each caller, as long as there are some."""
    members = {}
    for peer in peers:
        members.setdefault(peer.library.name, []).append(peer)
    return [those[caller.number % len(those)] for those in members.values()]


async def no_reports(publisher, peers):
    for peer in peers:
        await still_there(publisher, peer)
        check(peer.take_reports(), [], f"further reports of {peer.name}")


def returned(*args, partials=(), **kwargs):
    return {"partials": list(partials), "result": {"args": list(args), "kwargs": kwargs}}


def failed(error):
    return {"partials": [], "error": error}


def answer(callee, procedure, match, caller=None):
    """What the endpoint `who` returns; `caller` is given if it is disclosed."""
    told = {"procedure": callee.told_uri(procedure, match), **identified("caller", caller)}
    return returned(name=callee.name, **told)


def identified(role, peer):
    """The three details that disclose a peer; without one, none of them is there."""
    identity = peer.identity if peer else {"id": None, "authid": None, "authrole": None}
    keys = {"id": role, "authid": f"{role}_authid", "authrole": f"{role}_authrole"}
    return {keys[key]: value for key, value in identity.items()}


# For every pair of peers, and for every peer among all.
PAIR_TESTS = [
    progress,
    cancel,
    kill_too_late,
    disclosed_call,
    disclosed_to_callee,
    chunks_refused,
]
PEER_TESTS = [cancel_and_break, best_match, shared, timeout, events]


async def with_every_callee(test, caller, peers):
    for callee in peers:
        try:
            await test(caller, callee)
        except AssertionError as fault:
            raise AssertionError(f"with {callee.name}: {fault}") from None


async def run(report, test, kinds):
    everybody = [peer for kind in kinds for peer in kind]
    if test is events:
        await subscribe_all(everybody)
    for number in range(len(kinds)):
        peer, others = around(kinds, number)
        if not getattr(test, "suits", bool)(peer.library):
            continue
        for other in everybody:
            other.take_reports()  # of a test that has failed
        if test is events:
            attempt = test(peer, everybody)
        elif test in PAIR_TESTS:
            attempt = with_every_callee(test, peer, apart(peer, others))
        else:
            attempt = test(peer, apart(peer, others))
        await report.run(f"{test.__name__} by {peer.name}", attempt)


def apart(peer, others):
    """The others, which are at other nodes if there are some."""
    for other in others if len(PORTS) > 1 else []:
        check_true(other.node != peer.node, f"{other.name} is at another node than {peer.name}")
    return others


async def main():
    report, remote = Report(), Remote()
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        await remote.start()
        kinds = await join_all(remote)
        for test in PAIR_TESTS + PEER_TESTS:
            if wanted in test.__name__:
                await run(report, test, kinds)
    finally:
        await remote.stop()
    return report.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
