"""The examples for Spark and Dask in docs/cluster.md run as they stand there."""

import re
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from mien.recognition.batch import FaceRecognizer, recognize_to_folder
from mien.recognition.parts import PictureList
from mien.recognition.workers import in_processes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cluster.md"


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Three pictures, of which one is damaged, in list.parquet of the current folder."""
    monkeypatch.chdir(tmp_path)
    Image.open(ROOT / "examples" / "astronaut.jpg").resize((300, 300)).save("face.jpg")
    Image.new("RGB", (64, 48), "gray").save("faceless.png")
    Path("notes.jpg").write_text("not a picture")
    paths = [str(tmp_path / name) for name in ("face.jpg", "faceless.png", "notes.jpg")]
    pd.DataFrame({"path": paths}).to_parquet("list.parquet")


def run_example(word, **names):
    """Runs the example of the page with a word, and returns its variable `faces`."""
    (code,) = (
        code for code in re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE) if word in code
    )
    variables = {"FaceRecognizer": FaceRecognizer, "pandas": pd, **names}
    exec(compile(code, PAGE.name, "exec"), variables)
    return variables["faces"]


def check(faces):
    """Checks a pandas.DataFrame of the faces."""
    faces = faces.sort_values("path")
    assert faces["path"].str.rpartition("/")[2].tolist() == ["face.jpg", "faceless.png", "notes.jpg"]
    assert [value if isinstance(value, str) else None for value in faces["expression"]] == ["happy", None, None]
    assert faces["width"].tolist()[:2] == [300, 64]
    assert "cannot be read as a picture" in faces["error"].tolist()[2]


def test_spark_maps_paths_to_faces(listed, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    sql = pytest.importorskip("pyspark.sql", reason="Spark is needed: pip install pyspark")
    spark = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        check(run_example("mapInPandas", spark=spark).toPandas())
    finally:
        spark.stop()


def test_dask_maps_paths_to_faces(listed):
    dask = pytest.importorskip("dask", reason="Dask is needed: pip install 'dask[dataframe]'")
    pytest.importorskip("dask.dataframe", reason="Dask is needed: pip install 'dask[dataframe]'")
    with dask.config.set(scheduler="synchronous"):
        check(run_example("map_partitions", dask=dask).compute())


def test_parts_are_one_table_for_polars_and_duckdb(listed):
    polars = pytest.importorskip("polars", reason="Polars is needed: pip install polars")
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is needed: pip install duckdb")
    pictures = PictureList(pd.read_parquet("list.parquet")["path"], 2)
    recognize_to_folder(pictures, "faces", FaceRecognizer(), partial(in_processes, workers=1), lambda counts: None)
    check(pd.read_parquet("faces"))
    check(polars.read_parquet("faces/*.parquet").to_pandas())
    check(duckdb.sql("from 'faces/*.parquet'").df())
