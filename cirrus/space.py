"""A space of settings: domains by the paths of their fields, some only where others are set to certain values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from cirrus import checks
from cirrus.errors import PipelineError
from cirrus.frozen import Frozen
from cirrus.search import Domain, Option

MOST_FIELDS = 64

Draw = Callable[[str, Domain], Option]
"""The value for a field."""


class Space(Frozen[Domain]):
    """The domains by path, checked as a whole; ``PipelineError``s call it ``name``.

    ``order`` has every path after the one that it is conditional on, and does not depend on the order of ``fields``.
    """

    __slots__ = ("order",)

    def __init__(self, name: str, fields: Mapping[str, Domain]) -> None:
        allowed = f"a mapping of 1 to {MOST_FIELDS} fields to what each is searched over"
        checks.instance(name, fields, Mapping, allowed)
        if not 1 <= len(fields) <= MOST_FIELDS:
            raise PipelineError(name, dict(fields), allowed)
        super().__init__(fields)
        for path, domain in self.items():
            checks.text(f"{name} (a field)", path)
            allowed = "choice(...), uniform(...), log_uniform(...) or integers(...)"
            checks.instance(f"{name}[{path!r}]", domain, Domain, allowed)
            self._check_condition(f"{name}[{path!r}].when", domain)
        self.order = self._ordered(name)

    def settings(self, draw: Draw) -> dict[str, Option]:
        """One trial's values as ``draw`` gives them, without the fields whose condition does not hold."""
        made: dict[str, Option] = {}
        for path in self.order:
            domain = self[path]
            if domain.given is None or domain.given.holds(made):
                made[path] = draw(path, domain)
        return made

    def combinations(self, values: Callable[[Domain], Sequence[Option]]) -> Iterator[dict[str, Option]]:
        """All settings there are with these values of each field, the last field changing first."""
        return self._combined(values, 0, {})

    def samples(self, most: int) -> list[dict[str, Option]]:
        """Settings at the ends of the domains: all if they are no more than ``most``, else each end and so many."""
        found = list(islice(self.combinations(lambda domain: domain.edges()), most + 1))
        if len(found) <= most:
            return found
        rounds = max(len(domain.edges()) for domain in self.values())
        return [self._turn(number) for number in range(rounds)] + [self._corner(number) for number in range(most)]

    def _turn(self, number: int) -> dict[str, Option]:
        return self.settings(lambda _, domain: _end(domain, number % len(domain.edges())))

    def _corner(self, number: int) -> dict[str, Option]:
        return self.settings(lambda path, domain: _end(domain, int(chance(0, number, path) * len(domain.edges()))))

    def _combined(
        self, values: Callable[[Domain], Sequence[Option]], position: int, made: dict[str, Option]
    ) -> Iterator[dict[str, Option]]:
        if position == len(self.order):
            yield made
            return
        path = self.order[position]
        domain = self[path]
        if domain.given is not None and not domain.given.holds(made):
            yield from self._combined(values, position + 1, made)
            return
        for value in values(domain):
            yield from self._combined(values, position + 1, {**made, path: value})

    def _check_condition(self, name: str, domain: Domain) -> None:
        if domain.given is None:
            return
        checks.one_of(name, domain.given.path, tuple(self))
        values = self[domain.given.path].listed()
        if values is None:
            raise PipelineError(name, domain.given.path, "a field with choice(...), or integers(...) of few values")
        for one in domain.given.values:
            checks.one_of(name, one, values)

    def _ordered(self, name: str) -> tuple[str, ...]:
        made: dict[str, None] = {}
        left = sorted(self)
        while left:
            ready = [path for path in left if (given := self[path].given) is None or given.path in made]
            if not ready:
                raise PipelineError(name, ", ".join(left), "conditions that do not lead back to where they began")
            made |= dict.fromkeys(ready)
            left = [path for path in left if path not in made]
        return tuple(made)


def chance(seed: int, number: int, path: str) -> float:
    """A number from 0 to below 1 that is the same wherever it is asked for, and as good as random."""
    digest = hashlib.sha256(f"{seed}/{number}/{path}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _end(domain: Domain, number: int) -> Option:
    return domain.edges()[number]
