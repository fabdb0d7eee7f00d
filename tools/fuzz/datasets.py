"""Damaged data sets: archives, CSV, Parquet, class folders, cached copies and FER+ tables, for `mien data inspect`."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import mutate
import numpy as np
from harness import Case, command
from PIL import Image

HEADER = b"emotion,pixels,Usage\n"


def csv(rows: int = 40) -> bytes:
    """Makes FER2013's CSV with random faces."""
    values = np.random.default_rng(0)
    usages = ("Training", "PublicTest", "PrivateTest")
    faces = (" ".join(map(str, values.integers(0, 256, 2304))) for _ in range(rows))
    return HEADER + "".join(f"{n % 7},{face},{usages[n % 3]}\n" for n, face in enumerate(faces)).encode()


def tar(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: str = "w:gz") -> bytes:
    """Makes an archive of one member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, link, len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def zipped(name: str, data: bytes, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Makes an archive of one member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def parquet(**columns: object) -> bytes:
    """Makes a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    out = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue().to_pybytes()


def png() -> bytes:
    """Makes a face in one colour."""
    out = io.BytesIO()
    Image.new("L", (48, 48), 90).save(out, "PNG")
    return out.getvalue()


def seeds() -> dict[str, bytes]:
    """Good data sets by file name."""
    table, image = csv(), {"bytes": png(), "path": "a"}
    return {
        "fer2013.csv": table, "fer2013.csv.gz": gzip.compress(table), "fer2013.tar.gz": tar("fer2013/fer2013.csv", table),
        "fer2013.tar": tar("fer2013.csv", table, mode="w"), "fer2013.tgz": tar("x/icml_face_data.csv", table),
        "fer2013.zip": zipped("fer2013.csv", table), "bz.zip": zipped("fer2013.csv", table, zipfile.ZIP_BZIP2),
        "lzma.zip": zipped("fer2013.csv", table, zipfile.ZIP_LZMA),
        "faces.parquet": parquet(image=[image] * 21, label=[n % 7 for n in range(21)]),
        "names.parquet": parquet(image=[png()] * 21, label=["happy", "sad", "fear"] * 7, split=["train", "test", "val"] * 7),
    }  # fmt: skip


def by_hand(table: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields files that their formats allow, or nearly, and that ask for much."""
    yield "empty.csv", b""
    yield "header.csv", HEADER
    yield "null.csv", table[:3000] + b"\0\0" + table[3000:]
    yield "latin.csv", table[:300] + b"\xe9" + table[300:]
    yield "utf16.csv", table[:20000].decode().encode("utf-16")
    yield "long.csv", HEADER + b"0," + b"1 " * 3_000_000 + b",Training\n"
    yield "quote.csv", HEADER + b'0,"' + b"1 " * 100_000
    yield "huge-number.csv", table.replace(b"1 2", b"9" * 40 + b" 2", 5)
    yield "arabic.csv", table.decode().replace("1", "\u0661").encode()
    yield "returns.csv", table.replace(b"\n", b"\r")
    yield "columns.csv", HEADER.strip() + b"," * 100_000 + b"\n"
    yield "slip.tar.gz", tar("../../../../var/tmp/slipped/fer2013.csv", table)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        for link in ("fer2013.csv", "/etc/passwd"):
            yield (
                f"kind-{kind.decode()}-{link.strip('/').replace('/', '-')}.tar.gz",
                tar("fer2013.csv", kind=kind, link=link),
            )
    yield "bomb.csv.gz", gzip.compress(HEADER + bytes(1 << 30), 1)
    yield "bomb-digits.csv.gz", gzip.compress(HEADER + b"0," + b"1 " * (1 << 29), 1)
    yield "bomb.tar.gz", gzip.compress(tar("a.txt", bytes(1 << 29), mode="w"), 1)
    yield "bomb.zip", zipped("fer2013.csv", HEADER + b"\n" * (1 << 30))
    yield "rows.zip", zipped("fer2013.csv", table * 200)
    yield "xz.tar", lzma.compress(tar("fer2013.csv", table, mode="w"))
    yield "bz2.tar", bz2.compress(tar("fer2013.csv", table, mode="w"))
    yield "none.zip", zipped("readme.txt", b"no")
    yield "pictures.zip", zipped("a/happy/1.png", png())
    image = [{"bytes": png(), "path": "a"}] * 3
    yield "label.parquet", parquet(image=image, label=[0, 9, -1])
    yield "null.parquet", parquet(image=[None, *image[:2]], label=[0, None, 1])
    yield "float.parquet", parquet(image=image, label=[0.0, 1.0, float("nan")])
    yield "text.parquet", parquet(image=["a", "b", "c"], label=[0, 1, 2])
    yield "nested.parquet", parquet(image=[[png()]] * 3, label=[[0]] * 3)
    yield "other.parquet", parquet(a=[1, 2, 3])
    yield "bool.parquet", parquet(image=image, label=[True, False, True])
    yield "split.parquet", parquet(image=image, label=[0, 1, 2], split=["train", "", "moon"])
    yield "binary.parquet", parquet(image=image, label=[b"happy", b"\xff", b"sad"])


def folders(place: Path) -> Iterator[Path]:
    """Writes class folders with something wrong in them."""
    for n, files in enumerate((
        {"happy/a.png": png(), "sad/b.png": b"not a picture"}, {"happy/a.png": b""}, {"moon/a.png": png()}, {"a.png": png()},
        {"train/happy/a.png": png(), "test/sad/PublicTest_1.png": png()}, {"train/happy/PrivateTest_1.png": png()},
        {"happy/a.heic": png()}, {}, {"happy/..png": png()}, {"train/train/happy/a.png": png()}, {"fer2013.csv": b""},
        {"fer2013.tar.gz": b"x"}, {"a.parquet": b"PAR1"}, {"happy/\x1b[31mred.png": b"x"}, {"happy/a\nb.png": b"x"},
    )):  # fmt: skip
        for name, data in files.items():
            (place / f"{n}" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / f"{n}" / name).write_bytes(data)
        (place / f"{n}").mkdir(parents=True, exist_ok=True)
        yield place / f"{n}"
    loop = place / "loop" / "happy"
    loop.mkdir(parents=True)
    (loop / "loop").symlink_to(loop.parent)
    (loop / "self.png").symlink_to(loop / "self.png")
    (loop / "gone.png").symlink_to("/nowhere")
    os.mkfifo(loop / "pipe.png")
    yield loop.parent


def cases(folder: Path, count: int, r: random.Random) -> Iterator[Case]:
    """Yields data sets, damaged cached copies of a good one, and damaged FER+ tables."""
    import pyarrow.parquet  # noqa: F401

    import mien.data.inspection  # noqa: F401  (in the parent, so that no child imports it)

    made, cache = seeds(), Path(os.environ["XDG_CACHE_HOME"])
    others = list(made.values())
    good = folder / "good.csv"
    good.write_bytes(made["fer2013.csv"])
    votes = b"Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n" + b"".join(
        b"%s,f.png,1,2,3,4,0,0,0,0,0,0\n" % usage for usage in (b"Training", b"PublicTest", b"PrivateTest") * 14
    )

    def contents() -> Iterator[Case]:
        inspect = ("data", "inspect")
        for path in folders(folder / "folders"):
            yield Case(f"folder {path.name}", command(*inspect, path, "--json"))
        for name, data in [*made.items(), *by_hand(made["fer2013.csv"])]:
            (folder / name).write_bytes(data)
            yield Case(name, command(*inspect, folder / name, "--json"))
            (folder / name).unlink()
        while True:
            kind = r.randrange(12)
            if kind == 0 and (copies := list(cache.rglob("*.npz"))):
                for copy in copies[1:]:
                    copy.unlink()
                copies[0].write_bytes(mutate.damaged(copies[0].read_bytes(), r, votes)[1])
                yield Case("cached copy", command(*inspect, good, "--json"), codes=(0,))
                shutil.rmtree(cache / "mien" / "data", ignore_errors=True)
            elif kind == 1:
                (folder / "votes.csv").write_bytes(mutate.damaged(votes, r, others[0])[1])
                yield Case("votes", command(*inspect, good, "--ferplus", folder / "votes.csv", "--json"))
            else:
                name = r.choice(list(made))
                damage, data = mutate.damaged(made[name], r, r.choice(others))
                (folder / name).write_bytes(data)
                yield Case(f"{damage}-{name}", command(*inspect, folder / name, "--json"))

    for _, case in zip(range(count), contents(), strict=False):
        yield case
