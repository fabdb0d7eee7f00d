"""Every module that needs a missing package says in one sentence which extra installs it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mien.errors import ImageError, MienError, MissingExtraError
from mien.extras import EXTRAS

PACKAGE = Path(__file__).parents[1] / "mien"
BASE = {"numpy", "PIL", "onnxruntime", "rich", "typer", "platformdirs", "tomli", "tomllib", "click"}
"""What every installation has."""

IMPORT_ALL = """
import importlib, json, pkgutil, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in json.loads(sys.argv[1]):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import mien
from mien.errors import MissingExtraError
outcomes = {}
for module in pkgutil.walk_packages(mien.__path__, "mien.", onerror=lambda name: None):
    if module.name != "mien.__main__":
        try:
            importlib.import_module(module.name)
        except MissingExtraError as error:
            outcomes[module.name] = str(error)
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def sentences():
    """Module that cannot be imported without any extra -> the sentence of its error."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_ALL, json.dumps([*EXTRAS, "pyarrow", "ray"])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("mien.config", "pydantic", "train"),
        ("mien.training.run", "tomli_w", "train"),
        ("mien.models.torch_model", "torch", "train"),
        ("mien.models.checkpoint", "safetensors", "train"),
        ("mien.export.onnx", "pydantic", "train"),
        ("mien.networks.masked_resnet", "torch", "train"),
        ("mien.experiments.sweep", "torch", "train"),
        ("mien.service.app", "anyio", "serve"),
        ("mien.service.server", "uvicorn", "serve"),
    ],
)
def test_module_without_its_packages_names_the_extra(sentences, module, package, extra):
    assert f"this needs the package {package}" in sentences[module]
    assert "which is not installed: pip install " in sentences[module]
    assert f"[{extra}]" in sentences[module]


def test_recognition_videos_and_tables_are_imported_without_any_extra(sentences):
    needed = {"mien", "mien.recognition", "mien.video", "mien.evaluation", "mien.cli", "mien.data", "mien.predictions"}
    failing = {module for module in sentences if ".".join(module.split(".")[:2]) in needed}
    assert failing <= {"mien.data.augment"}


def test_every_package_that_a_module_imports_at_its_top_belongs_to_an_extra():
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    assert imported - BASE - sys.stdlib_module_names - {"mien"} <= EXTRAS.keys()


def test_missing_package_is_an_import_error_and_no_other_module_is_touched():
    assert issubclass(MissingExtraError, ImportError)
    assert issubclass(MissingExtraError, MienError)
    code = "import mien, no_such_package"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'no_such_package'\n")


COMMANDS = {
    "compare": (["compare", "a.parquet", "b.parquet"], "pyarrow", "batch"),
    "ensemble": (["ensemble", "a.parquet", "b.parquet", "-o", "c.parquet"], "pyarrow", "batch"),
    "compare with a figure": (["compare", "a.parquet", "-o", "out"], "matplotlib", "figures"),
    "train": (["train", "small-labels"], "lightning_fabric", "train"),
    "serve": (["serve"], "uvicorn", "serve"),
    "video": (["video", "0"], "av", "video"),
    "explain": (["explain", "photo.jpg"], "matplotlib", "figures"),
}


@pytest.mark.parametrize(("words", "package", "extra"), COMMANDS.values(), ids=COMMANDS)
def test_command_asks_for_the_extra_that_it_needs(mien, tmp_path, monkeypatch, words, package, extra):
    from tests.cli.conftest import assert_sentence, write_random_predictions

    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.parquet", "b.parquet")):
        write_random_predictions(tmp_path / name, seed)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = mien(*words)
    assert code == 2
    assert_sentence(err, f"this needs the package {package}, which is not installed", f"[{extra}]")


def test_picture_that_is_none_is_an_image_error():
    from mien import Recognizer

    with pytest.raises(ImageError, match=r"a picture must be a path, .* got NoneType"):
        Recognizer(threads=1)(None)
