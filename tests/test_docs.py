"""The documentation is built, without a warning."""

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", DOCS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in DOCS.glob("*.md"):
        assert (tmp_path / page.with_suffix(".html").name).exists()
    home = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "face detector, works offline on a CPU" in " ".join(home.split())
    assert "Raises" in (tmp_path / "python.html").read_text(encoding="utf-8")
    links = set(re.findall(r'href="(?!https?:|#|mailto:)([^"#?]+)', home))
    assert links
    assert all((tmp_path / link).exists() for link in links)
