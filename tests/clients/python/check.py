"""Checks, a bounded runner for asyncio tests, and one text form for any WAMP value.

Every program of this folder ends with the line `N passed, N failed`; run.sh adds them up. Into the
file that CLIENTS_RESULTS names it writes a line for each test, of which run.sh makes a page.
"""

import asyncio
import os
import sys
import traceback

TEST_TIMEOUT_S = 15


def check(actual, expected, what="value"):
    if type(actual) is not type(expected) or actual != expected:
        raise AssertionError(f"{what}: got {shorten(actual)}, expected {shorten(expected)}")


def check_true(condition, what):
    if not condition:
        raise AssertionError(what)


async def check_error(awaitable, uri):
    """Waits for the WAMP error `uri` and returns the exception that carried it."""
    from autobahn.wamp.exception import ApplicationError

    try:
        result = await awaitable
    except ApplicationError as error:
        check(error.error, uri, "error")
        return error
    raise AssertionError(f"got {shorten(result)}, expected the error {uri}")


def describe(value):
    """A text that is equal for equal values, whichever language and serializer carried them."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"bool:{str(value).lower()}"
    if isinstance(value, int):
        return f"int:{value}"
    if isinstance(value, float):
        if value.is_integer() and abs(value) <= 2**53:
            return f"int:{int(value)}"  # JavaScript has one type for both
        return f"float:{value!r}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"bytes:{bytes(value).hex()}"
    if isinstance(value, str):
        return f"text:{value}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(describe(item) for item in value) + "]"
    return "{" + ",".join(f"{key}={describe(value[key])}" for key in sorted(value)) + "}"


def shorten(value):
    text = repr(value)
    return text if len(text) <= 1000 else f"{text[:120]}... ({len(text)} characters)"


def note(outcome, name):
    file = os.environ.get("CLIENTS_RESULTS")
    if file:
        with open(file, "a") as results:
            results.write(f"{outcome}\t{name}\n")


class Report:
    """Counts the outcomes of one program."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    async def run(self, name, test, timeout_s=TEST_TIMEOUT_S):
        try:
            await asyncio.wait_for(test, timeout_s)
            self.passed += 1
            note("passed", name)
        except Exception as fault:
            self.failed += 1
            note("failed", name)
            reason = f"{type(fault).__name__}: {fault}" if str(fault) else repr(fault)
            print(f"FAIL {name}: {reason}", flush=True)
            if not isinstance(fault, AssertionError):
                traceback.print_exc(limit=-4, file=sys.stdout)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed else 0
