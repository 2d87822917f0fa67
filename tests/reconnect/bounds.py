"""The same as bounds.mjs for the recipe in Python: what it holds at most, and what it says when a
history cannot be read. Runs beside copies of the recipes.
"""

import asyncio
import sys
from types import SimpleNamespace

sys.path.insert(0, "autobahn-python")

import txaio  # noqa: E402

txaio.use_asyncio()

from autobahn.wamp.types import CallResult  # noqa: E402
from catch_up import CatchUp  # noqa: E402
from check import Report, check, check_true  # noqa: E402

TOPIC = "com.example.numbers"


class Router:
    """A history whose events have the ids 1, 2 and so on, and one subscriber. Also its session."""

    def __init__(self):
        self.history = []
        self.is_kept = True
        self.is_whole = True
        self.questions = 0
        self.before_answer = lambda: None
        self.live = None

    def publish(self, publication):
        self.history.append(publication)
        self.live(publication)

    def is_attached(self):
        return True

    async def subscribe(self, handler, topic, _options):
        def live(publication):
            handler(publication, details=SimpleNamespace(publication=publication, topic=topic))

        self.live = live
        return SimpleNamespace(id=7)

    async def call(self, procedure, *_args, limit=None, reverse=False, after_publication=None):
        if procedure == "wamp.subscription.lookup":
            return 7 if self.is_kept else None
        if reverse:
            return answer(self.history[-1:], True, len(self.history) > 1)
        self.questions += 1
        if after_publication is None:
            events, is_complete = self.history, self.is_whole
        else:
            is_complete = after_publication in self.history
            place = self.history.index(after_publication) + 1 if is_complete else len(self.history)
            events = self.history[place:]
        result = answer(events[:limit], is_complete, len(events) > limit)
        await asyncio.sleep(0)
        self.before_answer()
        return result


def answer(ids, complete, is_limit_reached):
    events = [{"publication": number, "details": {}, "args": [number]} for number in ids]
    return CallResult(*events, complete=complete, is_limit_reached=is_limit_reached)


def setting():
    router, said, errors = Router(), [], []
    catch_up = CatchUp(TOPIC, lambda event: said.append(event.args[0]), said.append, errors.append)
    return router, said, errors, lambda: catch_up.join(router), catch_up


async def what_finds_no_room_is_asked_for():
    router, said, errors, join, _ = setting()
    await join()
    router.publish(1)
    router.history.extend(range(2, 1_001))

    def burst():
        router.before_answer = lambda: None
        for number in range(1_001, 2_501):
            router.publish(number)

    router.before_answer = burst
    before = router.questions
    await join()
    check((said, errors), (list(range(1, 2_501)), []))
    check_true(router.questions - before >= 5, f"{router.questions} questions")
    router.publish(2_501)
    check(said[-1], 2_501)


async def it_remembers_so_many_and_no_more():
    router, said, _, join, _ = setting()
    await join()
    for number in range(1, 10_001):
        router.publish(number)
    for number in (10_000 - 4_095, 10_000):
        router.live(number)
    check(len(said), 10_000)
    router.live(10_000 - 4_096)
    check(len(said), 10_001)


async def a_history_that_fails_is_a_gap():
    router, said, errors, join, _ = setting()
    await join()
    router.publish(1)

    def fail():
        router.publish(3)
        raise RuntimeError("a.b")

    router.before_answer = fail
    router.history.append(2)
    await join()
    router.publish(4)
    check((said, errors), ([1, "the history cannot be read: a.b", 3, 4], []))


async def without_a_history_each_connection_is_a_gap():
    router, said, errors, join, _ = setting()
    router.is_kept = False
    await join()
    check(errors, [f"gaps cannot be filled: nobody keeps a history of {TOPIC}"])
    await join()
    check(said, ["nothing is known of what came before"])


async def what_is_kept_follows_the_gap():
    router, said, _, join, _ = setting()
    await join()
    for number in (1, 2, 3):
        router.publish(number)
    router.history, router.is_whole = [5, 6], False
    await join()
    router.history = [6, 7]  # The oldest that is kept was had.
    await join()
    check(said, [1, 2, 3, "the history does not reach back far enough", 5, 6, 7])


async def a_short_history_will_do():
    router, said, _, join, _ = setting()
    await join()
    for number in range(1, 101):
        router.publish(number)
    router.history, router.is_whole = list(range(95, 105)), False
    await join()
    check(said, list(range(1, 105)))


async def a_handler_that_fails_is_told():
    router, _, errors, join, catch_up = setting()
    await join()

    def fail(_event):
        raise ValueError("bad day")

    catch_up.on_event = fail
    router.publish(1)
    router.publish(2)
    check(errors, ["ValueError in on_event: bad day"] * 2)


async def main():
    report = Report()
    for test in (
        what_finds_no_room_is_asked_for,
        it_remembers_so_many_and_no_more,
        a_history_that_fails_is_a_gap,
        without_a_history_each_connection_is_a_gap,
        what_is_kept_follows_the_gap,
        a_short_history_will_do,
        a_handler_that_fails_is_told,
    ):
        await report.run(test.__name__, test())
    return report.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
