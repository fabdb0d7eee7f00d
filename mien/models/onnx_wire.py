"""Reads the structure of an ONNX file without the package onnx: nodes, tensors and shapes, but not the weights."""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

MAX_FIELDS = 1_000_000
"""Most fields of a file; the largest network of mien has 60,000."""
SMALL_BYTES = 16 << 20
"""Files below this size are read whole."""
MAX_VALUES = 64
"""Tensors of whole numbers and floats with up to this many values are read, since shapes may depend on them."""
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Number of a data type in TensorProto -> bytes of an element; texts and complex numbers are not weights."""
_FORMATS = {1: "<f", 6: "<i", 7: "<q"}
Field = int | tuple[int, int]
"""A number, or where the bytes of a text or a part start and end."""
Message = dict[int, list[Field]]
"""Number of a field -> its values."""


@dataclass
class Tensor:
    """A constant of the graph.

    Attributes:
        shape: Its dimensions.
        values: Its elements, row by row, if there are few; otherwise None.
    """

    shape: tuple[int, ...]
    values: tuple[float, ...] | None = None


@dataclass
class Node:
    """An operation with its inputs, outputs and attributes: whole numbers, lists of them, texts and tensors."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class Graph:
    """The graph of an ONNX file.

    Attributes:
        nodes: In the order of the file.
        tensors: Constants by name.
        inputs: Shape of each input that is not a constant, by name; None for a dimension of any size.
    """

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, tuple[int | None, ...]] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """Reads the graph of an ONNX file.

    Raises:
        ValueError: The file is no ONNX model (without a text), or has parts that no network of mien has.
        OSError: The file cannot be read.
    """
    if path.stat().st_size < SMALL_BYTES:  # quicker than a map
        return _Reader(path.read_bytes()).graph()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _Reader(data).graph()


class _Reader:
    """Decodes the messages of onnx.proto from protobuf's wire format.

    See https://protobuf.dev/programming-guides/encoding and https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._data, self._left = data, MAX_FIELDS

    def graph(self) -> Graph:
        model = self._message(0, len(self._data))
        if len(model.get(7, ())) != 1:
            raise ValueError("")
        if 25 in model or 20 in model:
            raise ValueError("has functions or training information")
        content = self._sub(model[7][0])
        if 15 in content:
            raise ValueError("has sparse tensors")
        graph = Graph()
        for place in content.get(5, ()):
            name, tensor = self._tensor(place)
            graph.tensors[name] = tensor
        graph.nodes = [self._node(place) for place in content.get(1, ())]
        for place in content.get(11, ()):
            name, shape = self._input(place)
            if name not in graph.tensors:
                graph.inputs[name] = shape
        return graph

    def _message(self, position: int, end: int) -> Message:
        data, message = self._data, cast(Message, {})
        if end > len(data):
            raise ValueError("")
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise ValueError("has too many parts")
            key = data[position]
            position += 1
            if key >= 0x80:
                key, position = self._varint(position - 1, end)
            kind = key & 7
            value: Field
            if kind == 2:
                length = data[position] if position < end else 0x80
                position += 1
                if length >= 0x80:
                    length, position = self._varint(position - 1, end)
                value = (position, position + length)
                position += length
            elif kind == 0:
                value, position = self._varint(position, end)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
                value = int.from_bytes(data[position : position + size], "little")
                position += size
            else:
                raise ValueError("")
            message.setdefault(key >> 3, []).append(value)
        if position != end:
            raise ValueError("")
        return message

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        number = shift = 0
        while position < end and shift < 70:
            byte = self._data[position]
            number |= (byte & 0x7F) << shift
            position += 1
            if byte < 0x80:
                return number, position
            shift += 7
        raise ValueError("")

    def _sub(self, place: Field) -> Message:
        if isinstance(place, int):
            raise ValueError("")
        return self._message(*place)

    def _text(self, message: Message, number: int) -> str:
        return self._decode(message[number][-1]) if number in message else ""

    def _decode(self, place: Field) -> str:
        if isinstance(place, int) or place[1] - place[0] > 10_000:
            raise ValueError("")
        return self._data[place[0] : place[1]].decode("utf-8", "replace")

    def _integers(self, message: Message, number: int) -> list[int]:
        """Signed integers, of which several may be packed into one field."""
        numbers = []
        for value in message.get(number, ()):
            if isinstance(value, int):
                numbers.append(value)
                continue
            position, end = value
            while position < end:
                one, position = self._varint(position, end)
                numbers.append(one)
                if len(numbers) > MAX_FIELDS:
                    raise ValueError("has too many parts")
        return [value - (1 << 64) if value >> 63 else value for value in numbers]

    def _tensor(self, place: Field) -> tuple[str, Tensor]:
        message = self._sub(place)
        name, shape = self._text(message, 8), tuple(self._integers(message, 1))
        if 13 in message or message.get(14, [0])[-1] != 0:
            raise ValueError("has tensors in other files")
        (kind,) = self._integers(message, 2)[-1:] or [0]
        if kind not in _ITEM_BYTES or min(shape, default=1) < 0:
            raise ValueError("has a tensor of another type or shape than weights have")
        count = math.prod(shape)
        stored, packed = 0, False
        for number, each in ((4, 4), (5, 1), (7, 1), (9, _ITEM_BYTES[kind]), (10, 8), (11, 1)):
            for value in message.get(number, ()):
                packed |= number == 9
                stored += 1 if isinstance(value, int) else (value[1] - value[0]) // each
        if stored < count:
            raise ValueError("has a tensor with fewer values than its shape says")
        return name, Tensor(shape, self._values(message, kind, count, packed))

    def _values(self, message: Message, kind: int, count: int, raw: bool) -> tuple[float, ...] | None:
        if count > MAX_VALUES or kind not in _FORMATS:
            return None
        if not raw:
            return tuple(self._integers(message, 7 if kind == 7 else 5)[:count]) if kind != 1 else None
        place = message[9][-1]
        assert not isinstance(place, int)
        size = struct.calcsize(_FORMATS[kind])
        content = self._data[place[0] : place[0] + count * size]
        return tuple(struct.unpack(f"<{count}{_FORMATS[kind][1]}", content))

    def _node(self, place: Field) -> Node:
        message = self._sub(place)
        if (domain := self._text(message, 7)) and domain != "ai.onnx":
            raise ValueError(f"has an operation of {domain[:40]}")
        attributes = dict(map(self._attribute, message.get(5, ())))
        names = [[self._decode(name) for name in message.get(number, ())] for number in (1, 2)]
        return Node(self._text(message, 4), names[0], names[1], attributes)

    def _attribute(self, place: Field) -> tuple[str, Any]:
        message = self._sub(place)
        name = self._text(message, 1)
        if message.keys() & {6, 11, 22, 23}:
            raise ValueError("has an operation that contains another graph")
        if 5 in message:
            return name, self._tensor(message[5][-1])[1]
        if 8 in message:
            return name, self._integers(message, 8)
        if 3 in message:
            return name, self._integers(message, 3)[-1]
        if 4 in message:
            return name, self._text(message, 4)
        return name, [] if message.get(20, [0])[-1] == 7 else None  # an empty list has no field of its own

    def _input(self, place: Field) -> tuple[str, tuple[int | None, ...]]:
        """ValueInfoProto.type.tensor_type.shape.dim.dim_value."""
        message = self._sub(place)
        name, shape = self._text(message, 1), cast(list[int | None], [])
        for number in (2, 1, 2):
            if number not in message:
                return name, ()
            message = self._sub(message[number][-1])
        for dimension in message.get(1, ()):
            sizes = self._integers(self._sub(dimension), 1)
            shape.append(sizes[-1] if sizes else None)
        return name, tuple(shape)
