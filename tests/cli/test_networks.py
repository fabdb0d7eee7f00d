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
