"""A trained network, in any of its forms, opened; without torch where the form needs none."""

from __future__ import annotations

from mien.errors import WeightsError, near, require
from mien.files import at_home
from mien.models.onnx_model import Model, OnnxModel, shipped


def open_model(model: str, threads: int | None = None) -> Model:
    """Opens any form of a trained network.

    Args:
        model: A run folder, a checkpoint (.safetensors), an .onnx file, or a shipped model's name; the last two work
            without torch. A folder of a shipped model's name is ./NAME.
        threads: CPU threads; None takes all cores.

    Raises:
        WeightsError: It is none of these, or damaged.
        MissingExtraError: It needs torch, which is not installed.
    """
    if model in shipped():
        return OnnxModel(model, threads)
    path = at_home(model)
    if path.suffix == ".onnx":
        return OnnxModel(path, threads)
    if path.is_dir() or path.suffix == ".safetensors":
        torch = require("torch", "train")
        from mien.models.torch_model import TorchModel

        if threads:
            torch.set_num_threads(threads)
        return TorchModel.load(path)
    raise WeightsError(
        f"there is no model {model}: expected a run folder, a checkpoint, an .onnx file or a shipped model's name; "
        f"{near(model, shipped())}"
    )
