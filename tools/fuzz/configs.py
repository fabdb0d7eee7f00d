"""Damaged TOML configs and --set values: what cannot be trained is refused in one sentence."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import mutate
import tiny
from harness import Case, command

WORDS = (
    "0", "-1", "1", "2", "1e308", "1e-320", "nan", "inf", "-inf", "true", '""', '"x"', "[]", "[1]", "{}", "{a=1}", "[[]]",
    "1979-05-27", "07:32:00", "0x7fffffffffffffff", "99999999999999999999999999", '"\\u0000"', '"\\uD800"', "'''x'''", '"~"',
    '"~nobody/x"', '"/"', '"/dev/null"', '"/dev/zero"', '"."', '"http://127.0.0.1:9/"', "1_000", '"imagenet"', '"tiny"',
    '["small", "tiny"]', '["nowhere"]', '"' + "x" * 5000 + '"', "1.5", "-0.0", "2147483648", "9" * 5000, "[" * 2000,
    "[" * 2000 + "]" * 2000, "{a = " * 500,
)  # fmt: skip
"""Values of every type, size and depth."""


def by_hand(good: str) -> Iterator[tuple[str, bytes]]:
    """Yields files that TOML allows, or nearly, and that ask for much."""
    yield "empty", b""
    yield "nested", b"a = " + b"[" * 100_000
    yield "nested and closed", b"a = " + b"[" * 5_000 + b"]" * 5_000
    yield "tables", b"a = " + b"{b=" * 3_000
    yield "digits", b"[training]\nepochs = " + b"9" * 5_000
    yield "hexadecimal digits", b"[training]\nepochs = 0x" + b"f" * 5_000
    yield "dotted", b".".join([b"a"] * 50_000) + b" = 1"
    yield "dotted header", b"[" + b".".join([b"a"] * 50_000) + b"]"
    yield "Latin 1", good.encode() + b"\n# \xe9\xff"
    yield "byte order mark", b"\xef\xbb\xbf" + good.encode()
    yield "UTF-16", good.encode("utf-16")
    yield "null", good.encode() + b"\0"
    yield "twice", (good + good).encode()
    yield "list", b"training = [1, 2]\n"
    yield "list of tables", b"[[training]]\nepochs = 1\n"
    yield "date", b"[training]\nepochs = 9999-99-99\n"
    yield "surrogate", b'[data]\npath = "\\uD800"\n'
    yield "control", b'[data]\npath = "\\u0000x"\n'
    yield "long", b'[data]\npath = "' + b"x" * 10_000_000 + b'"\n'
    yield "megabytes", good.encode() + b"#" * 30_000_000
    yield "keys", "".join(f"k{n} = 1\n" for n in range(50_000)).encode()
    yield "escape", b'[data]\npath = "\\u001b]0;title\\u0007\\u001b[31m"\n'


def cases(folder: Path, count: int, r: random.Random) -> Iterator[Case]:
    """Yields configs and --set values for `mien train`."""
    import torch

    import mien.training.run  # noqa: F401  (in the parent, so that no child imports it)
    from mien.config import Config

    torch.set_num_threads(1)
    faces, config = tiny.write(folder)
    good = config.read_text()
    keys = [
        f"{section.name}.{field.name}"
        for section in dataclasses.fields(Config)
        for field in dataclasses.fields(section.default_factory)
    ]
    pairs = [
        "",
        "=",
        ".",
        "a",
        "a.b",
        ".=1",
        "training=1",
        "training.=1",
        "training.a.b=1",
        "x=\ny=1",
        "training.epochs==1",
    ]
    held = ["--set", "training.epochs=1", "--set", f"data.path={faces}", "--set", "training.threads=1"]
    file, runs = folder / "damaged.toml", folder / "runs"

    def contents() -> Iterator[tuple[str, list[object]]]:
        for name, data in by_hand(good):
            file.write_bytes(data)
            yield name, [file]
        for pair in pairs:
            yield f"--set {pair!r}", [config, *held, "--set", pair]
        for path in ("/nowhere.toml", "/", "/dev/null", "/dev/zero", "/proc/self/mem", folder):
            yield f"file {path}", [path, *held]
        while True:
            lines, kind = good.splitlines(), r.randrange(3)
            if kind == 0:
                name, data = mutate.damaged(good.encode(), r, good.encode())
                file.write_bytes(data)
                yield name, [file, *held]
            elif kind == 1:
                at = r.choice([n for n, line in enumerate(lines) if "=" in line])
                lines[at] = f"{lines[at].partition('=')[0]}= {r.choice(WORDS)}"
                file.write_text("\n".join(lines))
                yield lines[at][:60], [file, *held]
            else:
                key, word = r.choice(keys), r.choice(WORDS)
                yield f"--set {key}={word[:40]}", [config, *held, "--set", f"{key}={word}"]

    for _, (name, words) in zip(range(count), contents(), strict=False):
        shutil.rmtree(runs, ignore_errors=True)
        runs.mkdir()
        yield Case(name, command("train", *words, "--run", runs / "run"), folder=runs)
