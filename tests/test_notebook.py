"""The notebook runs from its first cell to its last, and is kept with what it printed."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "expressions.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_kept_with_the_outputs_of_one_run(notebook):
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert texts(notebook)[0].startswith("happy ")
    size = NOTEBOOK.stat().st_size
    assert size < 1_000_000, f"the notebook has {size:,} bytes; show smaller pictures in it"


def texts(notebook):
    """What the cells printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.text for output in outputs if output.output_type == "stream"]


@pytest.mark.film
def test_every_cell_runs(notebook):
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": NOTEBOOK.parent}}).execute()
    given = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.text for output in given if output.output_type == "stream")
    assert printed.startswith("happy ")
    shown = [output.data for output in given if output.output_type == "execute_result"]
    assert "image/png" in shown[0]  # the annotated photograph
    assert all(name in shown[1]["text/html"] for name in ("original", "mirrored", "light 10%", "uncertain", "disgust"))
    assert "<td>50</td>" in shown[3]["text/html"]  # the face of the film has one number throughout
