"""`mien data inspect` and `mien data audit`."""

import json

from PIL import Image

from tests.cli.conftest import assert_sentence, write_random_predictions


def test_inspect_counts_faces_and_draws_a_contact_sheet(mien, fer2013_csv, user_cache, tmp_path):
    code, out, _ = mien("data", "inspect", fer2013_csv, "--json")
    assert code == 0
    assert json.loads(out)["totals"] == {"training": 28, "public": 14, "private": 14}
    code, out, _ = mien("data", "inspect", fer2013_csv, "-o", tmp_path / "out")
    assert code == 0
    assert "training" in out
    with Image.open(tmp_path / "out" / "contact-sheet.png") as sheet:
        assert sheet.width > 500


def test_audit_writes_copies_and_accuracy_without_them(mien, fer2013_csv, user_cache, tmp_path):
    predictions = tmp_path / "predictions.parquet"
    write_random_predictions(predictions, 0)
    code, out, _ = mien("data", "audit", fer2013_csv, "-o", tmp_path / "new", "--predictions", predictions)
    assert code == 0
    assert "0 pairs of copies" in out
    assert "not in Training" in out
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["copies.csv", "copies.png"]
    code, out, _ = mien("data", "audit", fer2013_csv, "--predictions", predictions, "--json")
    (accuracy,) = json.loads(out)["predictions"]
    assert (accuracy["n"], accuracy["n_unseen"]) == (14, 14)


def test_inspect_missing_file_gives_one_sentence(mien, tmp_path):
    code, _, err = mien("data", "inspect", tmp_path / "nowhere.csv")
    assert code == 2
    assert_sentence(err, "nowhere.csv does not exist")
