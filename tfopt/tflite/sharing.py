"""A flatbuffer builder that writes equal parts of a file once."""

from __future__ import annotations

import hashlib

import flatbuffers

# Bytes of an offset, and of the length of a vector.
_WORD = 4


class SharingBuilder(flatbuffers.Builder):
    """A builder that returns the place of an equal vector, string or table where one is already written.

    The format holds vectors, strings and tables by their offsets, so that one can belong to many: tensors of one shape
    share its vector, and those of one scale and zero point the table of both. The generated writer writes each anew.
    Readers follow the offsets, and see the same values. Vectors of bytes stay apart: they hold the constants, and a
    file would be of another size for other weights, such as biases that are all zero before a training.

    References:
        FlatBuffers, Internals, flatbuffers.dev/internals.
    """

    def __init__(self, initial_size: int = 1 << 16):
        super().__init__(initial_size)
        self._written: dict[bytes, int] = {}
        # Of the part that is being written: where it begins, its kind, the bytes of an element, and the offsets in it,
        # each with its own place and the one it points to. The file is written from its end, and places are counted in
        # bytes from there.
        self._begin = 0
        self._kind = ""
        self._element = 0
        self._offsets: list[tuple[int, int]] = []

    def StartObject(self, numfields: int) -> None:
        """Begins a table."""
        self._start("table", 0)
        super().StartObject(numfields)

    def EndObject(self) -> int:
        """Ends a table; returns the place of it or of an equal one."""
        place = super().EndObject()
        head = len(self.Bytes) - place
        to_vtable = int.from_bytes(self.Bytes[head : head + _WORD], "little", signed=True)
        self._offsets.append((place, place + to_vtable))
        return self._once(place, place - self._begin)

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        """Begins a vector."""
        self._start(f"vector at {alignment}", elemSize)
        return int(super().StartVector(elemSize, numElems, alignment))

    def CreateByteVector(self, x: bytes) -> int:
        """Writes a vector of bytes; returns its place."""
        self._start("bytes", 1)
        return int(super().CreateByteVector(x))

    def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> int:
        """Writes a string; returns the place of it or of an equal one."""
        self._start("string", 1)
        return int(super().CreateString(s, encoding, errors))

    def EndVector(self, numElems: int | None = None) -> int:
        """Ends a vector, with which a string ends too; returns the place of it or of an equal one."""
        count, place = int(self.vectorNumElems), int(super().EndVector(numElems))
        if self._element == 1 and self._kind != "string":
            return place
        return self._once(place, _WORD + count * self._element)

    def PrependUOffsetTRelative(self, off: int) -> None:
        """Writes an offset into a table or a vector."""
        super().PrependUOffsetTRelative(off)
        self._offsets.append((self.Offset(), off))

    def _start(self, kind: str, element: int) -> None:
        self._begin, self._kind, self._element, self._offsets = self.Offset(), kind, element, []

    def _once(self, place: int, length: int) -> int:
        """The place of a part that was just written, or of an equal one, for which it is taken back.

        Args:
            place: Its place.
            length: Its bytes, without what fills it up to a border.
        """
        head = len(self.Bytes) - place
        content = self.Bytes[head : head + length]
        for own, _ in self._offsets:  # equal ones are written as the distance to what they point to, which differs
            content[place - own : place - own + _WORD] = bytes(_WORD)
        targets = [(place - own, target) for own, target in self._offsets]
        key = hashlib.sha256(f"{self._kind} {self._element} {targets} ".encode() + content).digest()
        found = self._written.setdefault(key, place)
        if found != place:
            self.head = len(self.Bytes) - self._begin
        return found
