"""`mien --version` and what all commands share."""

import mien as package


def test_version_prints_name_and_number(mien):
    assert mien("--version")[1] == f"mien {package.__version__}\n"
