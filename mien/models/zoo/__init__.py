"""The classifiers that ship with mien, by name."""

from __future__ import annotations

from pathlib import Path

from mien.errors import WeightsError, near, shortened

DEFAULT_MODEL = "small"
"""The shipped model that is used unless another one is chosen."""

_CLASSIFIERS = Path(__file__).parent / "classifiers"


def shipped_models() -> dict[str, Path]:
    """The .onnx file of each shipped classifier, by name."""
    return {path.stem: path for path in sorted(_CLASSIFIERS.glob("*.onnx"))}


def find_model(model: str | Path) -> Path:
    """Returns the file of a model.

    Args:
        model: The name of a shipped model; the path of an .onnx file, which is returned as it is; or an address on the
            Hugging Face Hub, whose file is fetched, such as hf://owner/repo/file.onnx.

    Raises:
        WeightsError: It is none of these, or cannot be fetched.
        MissingExtraError: It is an address, and the hub's client is not installed.
    """
    if str(model).startswith("hf:"):
        from mien.models import hub  # most programs never need it

        return hub.fetch(str(model))
    path = Path(model)
    if path.suffix == ".onnx":
        return path
    models = shipped_models()
    if str(model) not in models:
        raise WeightsError(
            f"unknown model {shortened(model)}: expected the path of an .onnx file or the name of a shipped model; "
            f"{near(str(model), models)}"
        )
    return models[str(model)]
