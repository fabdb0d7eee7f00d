"""Brings the parts of onnxruntime-web that the page needs from npm into mien/page/vendor/.

    python tools/fetch_onnxruntime_web.py             # the pinned version again, checked against its hashes
    python tools/fetch_onnxruntime_web.py 1.30.0      # another version, which is pinned then

`onnxruntime-web.json` beside the files holds the pin: the version, npm's integrity hash of the whole package, and the
SHA-256 of each file taken out of it. npm's own package has no licence file; the text in `vendor/LICENSE` is that of
https://github.com/microsoft/onnxruntime/blob/main/LICENSE.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from mien.files import replaced, write_text

PACKAGE = "onnxruntime-web"
VENDOR = Path(__file__).parents[1] / "mien" / "deploy" / "page" / "vendor"
PIN = VENDOR / f"{PACKAGE}.json"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""The processor's backend alone: its interface, the loader of its WebAssembly, and that."""


def main() -> None:
    """Fetches, checks, writes the files and, where a version was named, its pin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", help="the pinned one when left out")
    version = parser.parse_args().version
    pin = json.loads(PIN.read_text(encoding="utf-8")) if version is None else {"version": version}
    integrity = pin.get("integrity") or npm("view", f"{PACKAGE}@{version}", "dist.integrity", "--json")
    contents = unpacked(pin["version"], integrity)
    found = {
        "package": PACKAGE,
        "version": pin["version"],
        "integrity": integrity,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    if version is None and found != pin:
        sys.exit(f"the files of {PACKAGE} {pin['version']} must be those of {PIN}, got {found['files']}")
    VENDOR.mkdir(exist_ok=True)
    for name, content in contents.items():
        with replaced(VENDOR / name) as part:
            part.write_bytes(content)
    write_text(PIN, json.dumps(found, indent=2) + "\n")
    print(
        f"{PACKAGE} {found['version']}: " + ", ".join(f"{name} {len(c) / 1e6:.2f} MB" for name, c in contents.items())
    )


def unpacked(version: str, integrity: str) -> dict[str, bytes]:
    """The needed files of a version, by name, after its package was found to have that integrity hash."""
    with tempfile.TemporaryDirectory() as folder:
        (packed,) = npm("pack", f"{PACKAGE}@{version}", "--json", "--pack-destination", folder)
        path = Path(folder) / packed["filename"]
        algorithm, _, expected = integrity.partition("-")
        came = base64.b64encode(hashlib.new(algorithm, path.read_bytes()).digest()).decode()
        if came != expected:
            sys.exit(f"{path.name} must have the integrity {integrity}, got {algorithm}-{came}")
        with tarfile.open(path) as archive:
            return {name: archive.extractfile(f"package/dist/{name}").read() for name in FILES}


def npm(*words: str) -> Any:
    """What a command of npm prints as JSON."""
    return json.loads(subprocess.run(["npm", *words], check=True, stdout=subprocess.PIPE).stdout)


if __name__ == "__main__":
    main()
