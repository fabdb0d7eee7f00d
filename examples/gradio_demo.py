"""A page that recognises photographs: pip install gradio, then python examples/gradio_demo.py."""

import gradio

from mien import Recognizer
from mien.recognition.draw import annotate

recognizer = Recognizer()
demo = gradio.Interface(
    lambda image_rgb: annotate(image_rgb, recognizer(image_rgb)), gradio.Image(), gradio.Image(), title="mien"
)

if __name__ == "__main__":
    demo.launch()
