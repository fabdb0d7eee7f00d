"""Damaged .onnx files and checkpoints, for `mien recognize`, `evaluate` and `train --resume`."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mutate
import numpy as np
import tiny
from harness import Case, command
from pictures import FACE

FORMAT = "mien-checkpoint-1"


def graphs(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields files that ONNX calls valid and that are no network of mien, or one that asks for much."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    base = onnx.load_from_string(good)
    stored = next(each.value for each in base.metadata_props if each.key == "mien")

    def with_metadata(value: str) -> bytes:
        model = onnx.ModelProto()
        model.CopyFrom(base)
        helper.set_model_props(model, {"mien": value})
        return model.SerializeToString()

    table = json.loads(stored)
    for key in table:
        for value in (None, [], {}, "", -1, 1e308, "x" * 1000, [[1]], True, float("nan")):
            yield f"metadata {key} {str(value)[:9]}", with_metadata(json.dumps(table | {key: value}))
    for name in ("preprocessing", "calibration"):
        for key in table.get(name, {}):
            for value in (None, 0, -1, 1e30, float("nan"), float("inf"), "x", 10**6, 10**400):
                changed = table | {name: table[name] | {key: value}}
                yield f"metadata {name}.{key} {str(value)[:9]}", with_metadata(json.dumps(changed))
    yield "metadata nested", with_metadata("[" * 100_000)
    yield "metadata digits", with_metadata('{"format": ' + "9" * 5000 + "}")
    for name in ("\ud800", "\x1b[31mx", "<script>", "=1+1"):
        yield f"class {name!r}", with_metadata(json.dumps(table | {"classes": [name, *table["classes"][1:]]}))
    node = helper.make_node

    def constant(name: str, values: object) -> Any:
        return numpy_helper.from_array(np.array(values), name)

    def network(nodes: list[Any], tensors: list[Any]) -> bytes:
        images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 48, 48])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 7])
        head = [
            node("ReduceMean", ["images"], ["m"], axes=[1, 2, 3], keepdims=0),
            node("Unsqueeze", ["m", "one"], ["u"]),
        ]
        graph = helper.make_graph([*head, *nodes], "g", [images], [logits], [constant("one", [1]), *tensors])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        helper.set_model_props(model, {"mien": stored})
        return model.SerializeToString()

    for value in (1, float("nan"), float("inf")):
        yield (
            f"mean {value}",
            network([node("Mul", ["u", "row"], ["logits"])], [constant("row", np.full((1, 7), value, np.float32))]),
        )
    row = constant("row", np.ones((1, 7), np.float32))
    end = [
        node("ReduceMax", ["c"], ["e"], keepdims=0),
        node("Mul", ["u", "row"], ["v"]),
        node("Add", ["v", "e"], ["logits"]),
    ]
    for size in (2**26, 2**31, 2**36):
        yield f"constant {size}", network([node("ConstantOfShape", ["s"], ["c"]), *end], [constant("s", [size]), row])
        yield f"expand {size}", network([node("Expand", ["row", "s"], ["c"]), *end], [constant("s", [size, 7]), row])
        yield f"tile {size}", network([node("Tile", ["row", "s"], ["c"]), *end], [constant("s", [size, 1]), row])
        pads = constant("s", [0, 0, size, 0])
        yield f"pad {size}", network([node("Pad", ["row", "s"], ["c"]), *end], [pads, row])
    sides = [constant("a", np.ones((1 << 17, 1), np.float32)), constant("b", np.ones((1, 1 << 17), np.float32)), row]
    yield "outer product", network([node("Mul", ["a", "b"], ["c"]), *end], sides)
    body = helper.make_graph(
        [node("Identity", ["i"], ["o"]), node("Identity", ["x"], ["y"])], "body",
        [helper.make_tensor_value_info("n", TensorProto.INT64, []), helper.make_tensor_value_info("i", TensorProto.BOOL, []),
         helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("o", TensorProto.BOOL, []), helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    yield "endless", network([node("Loop", ["", "true", "row"], ["c"], body=body), *end], [constant("true", True), row])
    for place in ("/etc/passwd", "../../../../etc/passwd", "/dev/zero", "gone.bin"):
        outside = TensorProto(name="row", data_type=1, dims=[1, 7], data_location=TensorProto.EXTERNAL)
        outside.external_data.add(key="location", value=place)
        yield f"outside {place}", network([node("Mul", ["u", "row"], ["logits"])], [outside])


def checkpoints(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields safetensors files with another state, config or header."""
    n = int.from_bytes(good[:8], "little")
    head, body = json.loads(good[8 : 8 + n]), good[8 + n :]
    state = json.loads(head["__metadata__"][FORMAT])

    def made(table: object) -> bytes:
        text = table if isinstance(table, bytes) else json.dumps(table).encode()
        return struct.pack("<Q", len(text)) + text + body

    def with_state(value: object) -> bytes:
        text = value if isinstance(value, str) else json.dumps(value)
        return made(head | {"__metadata__": {FORMAT: text}})

    for size in (0, 1, n - 1, n + 1, 2**31, 2**63, 2**64 - 1):
        yield f"size {size}", struct.pack("<Q", size) + good[8:]
    yield "nested", made(b"[" * 100_000)
    for key in state:
        for value in (None, [], {}, "", -1, 1e308, [[1]], "x", 10**400, {"a": 1}, True):
            yield f"state {key} {str(value)[:9]}", with_state(state | {key: value})
        yield f"state without {key}", with_state({each: value for each, value in state.items() if each != key})
    for section, values in state["config"].items():
        for key in values:
            for value in (None, -1, "x", 1e9, [1]):
                config = state["config"] | {section: values | {key: value}}
                yield f"config {section}.{key} {value}", with_state(state | {"config": config})
    for name, text in (("nested", "[" * 100_000), ("digits", "9" * 5000), ("list", "[]")):
        yield f"state {name}", with_state(text)
    name = next(key for key in head if key != "__metadata__")
    for change in ({"dtype": "F64"}, {"dtype": "X"}, {"shape": [2**40]}, {"shape": []}, {"data_offsets": [0, 2**60]}):
        yield f"tensor {change}", made(head | {name: head[name] | change})
    yield "tensor gone", made({key: value for key, value in head.items() if key != name})
    yield "tensor of nan", good[: 8 + n] + b"\xff" * len(body)


def cases(folder: Path, count: int, r: random.Random) -> Iterator[Case]:
    """Yields model files for each command that opens one."""
    import torch
    from harness import run

    import mien.evaluation.evaluation
    import mien.training.run  # noqa: F401  (in the parent, so that no child imports it)
    from mien.models.zoo import shipped_models

    torch.set_num_threads(1)
    faces, config = tiny.write(folder)
    trained_folder = folder / "run"
    trained = run(Case("train", command("train", config, "--run", trained_folder), codes=(0,)), folder)
    assert trained.code == 0, trained.errors
    good = {"onnx": shipped_models()["tiny"].read_bytes()}
    good |= {name: (trained_folder / f"{name}.safetensors").read_bytes() for name in ("best", "last")}
    options = ("--data", faces, "--json", "--threads", 1)

    def onnx(name: str, content: bytes) -> Case:
        path = folder / "damaged.onnx"
        path.write_bytes(content)
        kind = r.randrange(5)
        if kind == 0:
            return Case(f"detector {name}", command("recognize", FACE, "--detector", path))
        words = ("recognize", FACE, "--json", "--model", path) if kind < 4 else ("evaluate", path, *options)
        return Case(f"{words[0]} {name}", command(*words))

    def checkpoint(name: str, content: bytes, resumed: bool) -> Case:
        path = trained_folder / "last.safetensors" if resumed else folder / "damaged.safetensors"
        path.write_bytes(content)
        if resumed:
            words = ("train", trained_folder / "config.toml", "--run", trained_folder, "--resume")
            return Case(f"resume {name}", command(*words), folder=trained_folder)
        return Case(f"evaluate {name}", command("evaluate", path, *options))

    def contents() -> Iterator[Case]:
        hand = {"onnx": graphs(good["onnx"])} | {name: checkpoints(good[name]) for name in ("best", "last")}
        while True:
            form = r.choice(list(good))
            made = next(hand[form], None) if r.random() < 0.6 else None
            if made:
                name, content = made
            else:
                name, content = mutate.damaged(good[form], r, r.choice(list(good.values())))
                if form != "onnx" and r.random() < 0.5:
                    name, content = "header", mutate.flip(good[form], r, 3, 2000)
            yield onnx(name, content) if form == "onnx" else checkpoint(name, content, form == "last")

    for _, case in zip(range(count), contents(), strict=False):
        yield case
