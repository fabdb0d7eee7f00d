"""Fetches the files of onnxruntime-web that the page needs from npm into mien/page/vendor/.

    python tools/fetch_onnxruntime_web.py             # the pinned version, checked against its hashes
    python tools/fetch_onnxruntime_web.py 1.30.0      # another version, which becomes the pinned one

`onnxruntime-web.json` beside the files holds the pin: the version, npm's integrity hash of the package, and the SHA-256
of each file. The copy of the WebAssembly that is compressed with Brotli takes a minute to make, so the package holds
it; it is made again with another version only. The package contains no licence file; `vendor/LICENSE` is a copy of
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
VENDOR = Path(__file__).parents[1] / "mien" / "page" / "vendor"
PIN = VENDOR / f"{PACKAGE}.json"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""The CPU backend only: its API, the loader of its WebAssembly, and the WebAssembly."""
WASM = "ort-wasm-simd-threaded.wasm"
BROTLI = """
const { constants, brotliCompressSync } = require("node:zlib");
const content = require("node:fs").readFileSync(process.argv[1]);
const params = {
  [constants.BROTLI_PARAM_QUALITY]: 11,
  [constants.BROTLI_PARAM_LGWIN]: 24,
  [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
};
process.stdout.write(brotliCompressSync(content, { params }));
"""
"""A script of node that compresses a file."""


def main() -> None:
    """Fetches, checks and writes the files, and the pin of a new version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", help="by default the pinned one")
    version = parser.parse_args().version
    pin = json.loads(PIN.read_text(encoding="utf-8")) if version is None else {"version": version}
    integrity = pin.get("integrity") or npm("view", f"{PACKAGE}@{version}", "dist.integrity", "--json")
    contents = download(pin["version"], integrity)
    fetched = {
        "package": PACKAGE,
        "version": pin["version"],
        "integrity": integrity,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    if version is None:
        fetched["compressed"] = pin["compressed"]
    if version is None and fetched != pin:
        sys.exit(f"the files of {PACKAGE} {pin['version']} must have the hashes in {PIN}, got {fetched['files']}")
    VENDOR.mkdir(exist_ok=True)
    for name, content in contents.items():
        with replaced(VENDOR / name) as part:
            part.write_bytes(content)
    if version is not None:
        fetched["compressed"] = {f"{WASM}.br": hashlib.sha256(write_brotli(VENDOR / WASM)).hexdigest()}
    write_text(PIN, json.dumps(fetched, indent=2) + "\n")
    print(
        f"{PACKAGE} {fetched['version']}: " + ", ".join(f"{name} {len(c) / 1e6:.2f} MB" for name, c in contents.items())
    )


def download(version: str, integrity: str) -> dict[str, bytes]:
    """Downloads a version, checks the integrity hash of its package, and returns the needed files by name."""
    with tempfile.TemporaryDirectory() as folder:
        (package,) = npm("pack", f"{PACKAGE}@{version}", "--json", "--pack-destination", folder)
        path = Path(folder) / package["filename"]
        algorithm, _, expected = integrity.partition("-")
        actual = base64.b64encode(hashlib.new(algorithm, path.read_bytes()).digest()).decode()
        if actual != expected:
            sys.exit(f"{path.name} must have the integrity {integrity}, got {algorithm}-{actual}")
        with tarfile.open(path) as archive:
            return {name: archive.extractfile(f"package/dist/{name}").read() for name in FILES}


def write_brotli(path: Path) -> bytes:
    """Writes a compressed copy of a file beside it, and returns its content."""
    content = subprocess.run(["node", "-e", BROTLI, str(path)], check=True, stdout=subprocess.PIPE).stdout
    with replaced(path.with_name(f"{path.name}.br")) as part:
        part.write_bytes(content)
    return content


def npm(*words: str) -> Any:
    """Runs a command of npm and parses its JSON output."""
    return json.loads(subprocess.run(["npm", *words], check=True, stdout=subprocess.PIPE).stdout)


if __name__ == "__main__":
    main()
