"""`mien networks`."""

import json


def test_networks_lists_size_and_cost(mien):
    _, out, _ = mien("networks", "--json")
    rows = {(row["name"], row["variant"]): row for row in json.loads(out)}
    assert rows["resmasking", ""]["parameters"] == 137_796_423
    small = rows["resnet18_masking_reconstruction", "small"]
    assert (small["size"], small["in_channels"]) == (48, 1)
    assert small["multiply_adds"] <= 100e6
    assert small["parameters"] <= 4e6
    _, out, _ = mien("networks")
    assert all(name in out for name, _ in rows)


def test_networks_marks_the_thirteen_of_the_paper(mien):
    _, out, _ = mien("networks", "--json")
    reported = {(row["name"], row["variant"]): row["reported"] for row in json.loads(out) if row["reported"]}
    assert len(reported) == 13
    assert reported["resnet34_masking_reconstruction", "paper"] == 0.7598
    _, out, _ = mien("networks")
    (line,) = [line for line in out.splitlines() if "resmasking " in line]
    assert line.rstrip().endswith("74.14%")
