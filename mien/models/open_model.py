"""Opens a trained network in any format; imports torch only for run folders and checkpoints."""

from __future__ import annotations

from mien.errors import WeightsError, near, require, shortened
from mien.files import expand_user
from mien.models.model import Model
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import shipped_models


def open_model(model: str, threads: int | None = None) -> Model:
    """Opens a trained network in any format.

    Args:
        model: The name of a shipped model, an .onnx file, its address on the hub (hf://owner/repo/file.onnx), a run
            folder or a checkpoint (.safetensors); all but the last two work without torch. To open a run folder that
            has the name of a shipped model, write ./NAME.
        threads: CPU threads; None uses all cores.

    Raises:
        WeightsError: There is no such model, or it is damaged.
        MissingExtraError: It needs torch, which is not installed.
    """
    if model in shipped_models() or model.startswith("hf:"):
        return OnnxModel(model, threads)
    path = expand_user(model)
    if path.suffix == ".onnx":
        return OnnxModel(path, threads)
    if path.is_dir() or path.suffix == ".safetensors":
        torch = require("torch", "train")
        from mien.models.torch_model import TorchModel

        if threads:
            torch.set_num_threads(threads)
        return TorchModel.load(path)
    raise WeightsError(
        f"there is no model {shortened(model)}: expected a run folder, a checkpoint, an .onnx file or the name of a "
        f"shipped model; {near(model, shipped_models())}"
    )
