"""Writes the generated blocks of the documentation: tables from results/, the file map, and the output of the demo.

    python tools/write_docs.py            # or: make results
    python tools/write_docs.py --check    # writes nothing; fails if a block is out of date

A block is whatever stands between these two lines of a Markdown file, where NAME is a key of BLOCKS:

    <!-- begin generated: NAME -->
    <!-- end generated -->

No one edits the text between them by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

from docs_blocks import cluster, code, results

ROOT = Path(__file__).resolve().parents[1]
ZOO = ROOT / "mien" / "models" / "zoo" / "classifiers"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ZOO.glob("*.md")))
BLOCK = re.compile(r"(<!-- begin generated: ([\w-]+) -->\n).*?(<!-- end generated -->)", re.DOTALL)

BLOCKS: Mapping[str, Callable[[], str]] = {
    "peers": results.peers,
    "fer2013": results.fer2013,
    "uncertain": results.uncertain,
    "robustness": results.robustness,
    "corruptions": results.corruptions,
    "reliability": results.reliability,
    "formats": results.formats,
    "ideas-private": partial(results.ideas, "private"),
    "ideas-public": partial(results.ideas, "public"),
    "parameters": results.parameters,
    "cost": results.cost,
    "short-training": results.short_training,
    "speed": results.speed,
    "detection": results.detection,
    "literature": results.literature,
    **{f"card-{name}": partial(results.card, name) for name in results.SHIPPED},
    "cluster-cost": cluster.cost,
    "cluster-speed": cluster.speed,
    "stages": cluster.stages,
    "demo": code.demo,
    "settings": code.settings,
    "files": code.files,
}
"""Name of a block -> what makes it."""


def main() -> None:
    """Writes all blocks, or checks them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if a block is out of date")
    check = parser.parse_args().check
    stale = [path for path in PAGES if render(path) != path.read_text(encoding="utf-8")]
    for path in stale:
        if not check:
            path.write_text(render(path), encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'out of date' if check else 'written'}")
    if check and stale:
        sys.exit("run make results")


def render(path: Path) -> str:
    """Returns the text of a page with all of its blocks made anew."""
    text = path.read_text(encoding="utf-8")
    return BLOCK.sub(lambda match: f"{match[1]}{generate(match[2])}\n{match[3]}", text)


@cache
def generate(name: str) -> str:
    """Returns the content of a block."""
    return BLOCKS[name]()


if __name__ == "__main__":
    main()
