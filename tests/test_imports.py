"""Imports between rooms go downwards only, without cycles, and recognition does not import torch."""

import ast
import os
import subprocess
import sys
from collections.abc import Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mien"
ASTRONAUT = PACKAGE.parent / "examples" / "astronaut.jpg"

SMALL = {
    "cores",
    "deprecation",
    "errors",
    "files",
    "interrupt",
    "labels",
    "parsing",
    "types",
    "pixels",
    "config",
    "preprocess",
    "predictions",
    "storage",
}
FACES = SMALL | {"calibration"}
MAKING = FACES | {"data", "networks", "models", "training", "plotting"}

MAY_IMPORT = {
    "cores": set(),
    "deprecation": set(),
    "errors": {"installation"},
    "installation": set(),
    "extras": {"errors"},
    "heif": {"errors"},
    "labels": set(),
    "files": {"errors"},
    "interrupt": set(),
    "storage": {"errors", "files"},
    "parsing": set(),
    "types": {"deprecation", "labels"},
    "pixels": {"errors", "files", "heif"},
    "validation": {"errors"},
    "shipped_configs": {"errors", "files"},
    "config": {"errors", "parsing", "validation"},
    "preprocess": {"types"},
    "predictions": {"errors", "files", "parsing", "types"},
    "calibration": {"deprecation", "errors", "types"},
    "plotting": {"errors", "files", "labels"},
    "data": {"errors", "files", "storage", "labels", "parsing", "types", "pixels", "config", "preprocess"},
    "networks": {"errors"},
    "models": {"deprecation", "errors", "files", "parsing", "config", "preprocess", "calibration", "networks"},
    "detection": {"deprecation", "errors", "types", "models", "preprocess"},
    "recognition": FACES | {"models", "detection"},
    "video": FACES | {"models", "detection", "recognition", "plotting"},
    "training": FACES | {"data", "networks", "models", "shipped_configs"},
    "evaluation": MAKING | {"explain"},
    "explain": FACES | {"models", "detection", "recognition", "plotting"},
    "export": MAKING | {"deprecation", "detection", "evaluation"},
    "experiments": MAKING | {"shipped_configs"} | {"evaluation", "export"},
    "deploy": {"service"},
    "service": FACES | {"models", "detection", "recognition", "export"},
}
"""Room or file of mien -> the rooms and files it may import. `cli`, `__init__` and `__main__` may import all."""

TORCH_FREE = (
    "cores",
    "deprecation",
    "errors",
    "extras",
    "heif",
    "installation",
    "labels",
    "files",
    "interrupt",
    "parsing",
    "types",
    "pixels",
    "validation",
    "config",
    "shipped_configs",
    "preprocess",
    "predictions",
    "calibration",
    "detection",
    "recognition",
    "video",
    "service",
    *("models/model", "models/onnx_model", "models/session", "models/zoo/__init__", "export/page"),
    *("models/onnx_check", "models/onnx_wire", "models/devices", "models/runtime", "models/hub"),
)
"""Rooms and files that must not import torch, not even inside a function."""

TRAIN_ONLY = {"torch", "torchvision", "lightning_fabric", "safetensors", "tensorboard", "onnx", "onnxscript"}

NOT_IMPORTED = {
    "help": (
        "sys.argv = ['mien', '--help']; from mien.cli import main; main()",
        {"torch", "onnxruntime", "numpy", "PIL", "pyarrow", "matplotlib", "pydantic"},
    ),
    "recognising": (
        f"from mien import Recognizer; assert Recognizer(threads=1)({str(ASTRONAUT)!r})",
        {"torch", "onnx", "pyarrow", "matplotlib", "pandas", "pydantic"}
        | {f"mien.{name}" for name in ("config", "data", "networks", "training")},
    ),
    "explaining by masks": (
        "from pathlib import Path; from mien.explain.explain import explain, write\n"
        f"assert write(explain({str(ASTRONAUT)!r}, 'tiny', method='masks'), Path(sys.argv[1]), 'a.jpg')",
        {"torch", "captum", "onnx", "pyarrow", "imagehash", "pydantic"},
    ),
    "evaluating a file": (
        "import mien.evaluation.metrics, mien.evaluation.predict, mien.evaluation.results, mien.data\n"
        "from mien.models.open_model import open_model; open_model('tiny')",
        {"torch", "pydantic"},
    ),
    "reading faces": ("import mien.data, mien.data.inspection", {"torch", "pydantic"}),
    "listing networks": ("from mien.networks.registry import NETWORKS; assert NETWORKS", {"torch", "pydantic"}),
}
"""Task -> code that performs it, and the modules that it must not import."""


def modules() -> list[Path]:
    """Returns the files that the table of allowed imports covers."""
    exempt = {PACKAGE / name for name in ("__init__.py", "__main__.py")}
    return sorted(set(PACKAGE.rglob("*.py")) - exempt - set((PACKAGE / "cli").glob("*.py")))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path, everywhere: bool = True) -> set[str]:
    """Returns the full names of the modules that a file imports; `everywhere` includes imports inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    others = {name.split(".")[1] for name in imported(path) if name.startswith("mien.")} - {room(path), "__version__"}
    assert others <= MAY_IMPORT[room(path)]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_free_files_import_no_training_packages(path):
    names = {room(path), path.relative_to(PACKAGE).with_suffix("").as_posix()}
    torch_free = not names.isdisjoint(TORCH_FREE)
    packages = {name.partition(".")[0] for name in imported(path, everywhere=torch_free)}
    if torch_free or path.stem in ("registry", "predict", "metrics", "report"):
        assert not packages & TRAIN_ONLY


@pytest.mark.parametrize(("code", "forbidden"), NOT_IMPORTED.values(), ids=NOT_IMPORTED)
def test_task_imports_only_what_it_needs(code, forbidden, tmp_path):
    watched = f"import atexit, sys; atexit.register(lambda: print(sorted({forbidden} & set(sys.modules))))\n{code}"
    done = subprocess.run([sys.executable, "-c", watched, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_room_is_in_the_table():
    assert {room(path) for path in modules()} == MAY_IMPORT.keys()


def test_import_and_recognition_give_no_warning():
    code = f"import mien; mien.__version__; assert mien.Recognizer(threads=1)({str(ASTRONAUT)!r})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_recognition_leaves_nothing_in_the_home_folder(tmp_path):
    """ONNX Runtime writes an identifier of the machine unless mien forbids it."""
    home = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | home
    code = f"import mien; assert mien.Recognizer(threads=1)({str(ASTRONAUT)!r})"
    subprocess.run([sys.executable, "-B", "-c", code], env=environment, check=True)
    assert not list(tmp_path.rglob("*"))


def imported_modules(path: Path, modules: Set[str]) -> set[str]:
    """Returns which of these modules a file imports, also inside functions, but not for type checking alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node))]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            names |= submodules if len(submodules) == len(node.names) else {node.module, *submodules}
    return names & modules


def test_modules_have_no_import_cycle():
    paths = {path.relative_to(PACKAGE.parent).with_suffix(""): path for path in PACKAGE.rglob("*.py")}
    files = {".".join(name.parts).removesuffix(".__init__"): path for name, path in paths.items()}
    graph = {name: imported_modules(path, files.keys()) - {name, "mien"} for name, path in files.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))
