"""Numbered channels, and the groups of coupled channels that have to be removed together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# The channels along an axis, one number each: `(n,)` integers.
Ids = np.ndarray


class Channels:
    """Channel numbers, joined into groups of coupled channels, and groups into families.

    A layer that makes channels takes new numbers, all of one family. What ties two channels, such as an addition, joins
    their groups and their families.
    """

    def __init__(self) -> None:
        self._above: list[int] = []
        self._space: list[int] = []
        self._spaces: list[int] = []
        self._single: set[int] = set()
        self._kept: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._above)

    def new(self, count: int, single: bool = False) -> Ids:
        """New numbers for `count` channels, `(count,)`.

        Args:
            count: Number of channels.
            single: Whether their number is not to be rounded, as with the heads of an attention.
        """
        first, space = len(self._above), len(self._spaces)
        self._above.extend(range(first, first + count))
        self._space.extend([space] * count)
        self._spaces.append(space)
        if single:
            self._single.add(space)
        return np.arange(first, first + count)

    def find(self, channel: int) -> int:
        """The group of a channel, by the number of one of its members."""
        return _root(self._above, channel)

    def family(self, channel: int) -> int:
        """The family of a channel."""
        return _root(self._spaces, self._space[channel])

    def single(self, family: int) -> bool:
        """Whether the number of a family's channels is not to be rounded."""
        return any(_root(self._spaces, space) == family for space in self._single)

    def tie(self, one: Ids, other: Ids) -> None:
        """Joins two axes, channel by channel; those of different lengths are left alone."""
        if len(one) != len(other):
            return
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            _join(self._above, a, b)
            _join(self._spaces, self._space[a], self._space[b])

    def keep(self, ids: Ids, reason: str) -> None:
        """Keeps channels from being removed."""
        for channel in ids.tolist():
            self._kept.setdefault(channel, reason)

    def kept(self) -> dict[int, str]:
        """The groups that stay, with the reason."""
        return {self.find(channel): reason for channel, reason in self._kept.items()}

    def roots(self) -> Ids:
        """The group of every channel, `(channels,)`."""
        return np.array([self.find(channel) for channel in range(len(self))], int)

    def families(self, roots: Iterable[int]) -> dict[int, list[int]]:
        """Groups by family."""
        found: dict[int, list[int]] = {}
        for root in roots:
            found.setdefault(self.family(root), []).append(root)
        return found


def _root(above: list[int], number: int) -> int:
    while above[number] != number:
        above[number] = above[above[number]]
        number = above[number]
    return number


def _join(above: list[int], one: int, other: int) -> None:
    one, other = _root(above, one), _root(above, other)
    above[max(one, other)] = min(one, other)
