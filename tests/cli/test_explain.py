"""`mien explain`."""

from tests.cli.conftest import ASTRONAUT, assert_sentence


def test_explain_writes_one_figure_per_face(mien, trained_run, faceless_picture, tmp_path):
    code, out, err = mien("explain", ASTRONAUT, "--model", trained_run, "-o", tmp_path / "why")
    assert (code, err) == (0, "")
    assert out == f"written: {tmp_path}/why/astronaut-face1.png\n"
    assert [path.name for path in (tmp_path / "why").iterdir()] == ["astronaut-face1.png"]
    code, out, _ = mien("explain", faceless_picture, "--model", trained_run, "-o", tmp_path / "why")
    assert (code, out) == (0, f"{faceless_picture}: no face was found, so there is nothing to explain\n")


def test_bad_picture_or_model_gives_one_sentence(mien, unreadable_picture, trained_run, tmp_path):
    code, _, err = mien("explain", unreadable_picture, "--model", trained_run, "-o", tmp_path / "why")
    assert code == 2
    assert_sentence(err, "cannot be read as a picture")
    code, _, err = mien("explain", ASTRONAUT, "--model", "smal", "--method", "grad-cam", "-o", tmp_path / "why")
    assert code == 2
    assert_sentence(err, "there is no model smal")
    assert not (tmp_path / "why").exists()


def test_name_of_a_picture_is_no_folder_for_the_figures(mien, tmp_path):
    code, _, err = mien("explain", tmp_path / "photo.jpg", "-o", tmp_path / "figure.png")
    assert code == 2
    assert "figure.png is the name of a picture, and every face gets its own: give the name of a folder" in err
    assert list(tmp_path.iterdir()) == []
