"""Words over lines that break: each is taken in once, in order, and none is lost."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cirrus.core.spoken import Spoken


class Lines(RuleBasedStateMachine):
    """One side speaks, lines bring a beginning of what is sent, and the other side takes in what comes."""

    @initialize(most=st.integers(1, 5))
    def begin(self, most: int) -> None:
        self.spoken: Spoken[int] = Spoken(most)
        self.most = most
        self.said = 0
        self.line: list[int] = []
        self.took: list[int] = []

    @rule(words=st.integers(1, 8))
    def speaks(self, words: int) -> None:
        for _ in range(words):
            self.spoken.say(self.said)
            self.said += 1
        self.line += self.spoken.due()

    @rule(count=st.integers(0, 8))
    def hears(self, count: int) -> None:
        self.took += self.line[:count]
        del self.line[:count]

    @rule()
    def says_what_it_has(self) -> None:
        self.spoken.taken(len(self.took))
        self.line += self.spoken.due()

    @rule()
    def breaks(self) -> None:
        self.line.clear()
        self.spoken.taken(len(self.took))
        self.spoken.new_line()
        self.line += self.spoken.due()

    @invariant()
    def nothing_is_lost_nor_taken_in_twice(self) -> None:
        if hasattr(self, "spoken"):
            assert self.took == list(range(len(self.took)))
            assert len(self.line) <= self.most

    def teardown(self) -> None:
        if not hasattr(self, "spoken"):
            return
        self.breaks()
        while self.line:
            self.hears(len(self.line))
            self.says_what_it_has()
        assert self.took == list(range(self.said))


TestLines = Lines.TestCase


def test_what_the_other_side_said_it_has_is_not_said_again() -> None:
    spoken: Spoken[str] = Spoken(10)
    for word in "abc":
        spoken.say(word)
    assert spoken.due() == ("a", "b", "c")
    spoken.taken(2)
    spoken.taken(1)  # an older count changes nothing
    spoken.new_line()
    assert spoken.due() == ("c",)
