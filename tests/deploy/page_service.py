"""The least service that the page can work with: what the tests of the page use in the place of `mien serve`."""

from typing import Any

from fastapi import FastAPI, Request, Response, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.staticfiles import StaticFiles

from mien.deploy import page_folder
from mien.errors import ImageError
from mien.recognition import blazeface, photo, records
from mien.recognition.detect import create_detector
from mien.recognition.recognizer import Recognizer

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


def create_app() -> FastAPI:
    """An app with the page at its root, /v1/models, /v1/recognize, /v1/frames and the model files."""
    app = FastAPI()
    models = page_folder.named([])
    whole = Recognizer(threads=1)
    frames = Recognizer(detector=create_detector("blazeface", 1, small_faces=False), threads=1)

    def answer(recognizer: Recognizer, picture: bytes) -> dict[str, Any]:
        try:
            image_rgb = photo.read(picture)
        except ImageError as error:
            return {"error": str(error)}
        record = records.to_record("", image_rgb, recognizer(image_rgb))
        del record["path"]
        return record

    @app.middleware("http")
    async def isolate(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(ISOLATION)
        return response

    @app.get("/v1/models")
    def listed() -> dict[str, Any]:
        found = page_folder.listed(models)
        return found | {"models": [each | {"file": f"/{each['file']}"} for each in found["models"]]}

    @app.post("/v1/recognize")
    def recognize(pictures: list[UploadFile]) -> dict[str, Any]:
        said = [{"name": each.filename} | answer(whole, each.file.read()) for each in pictures]
        return {"model": "small", "pictures": said}

    @app.websocket("/v1/frames")
    async def follow(socket: WebSocket) -> None:
        await socket.accept()
        try:
            for number in range(1 << 30):
                await socket.send_json({"frame": number} | answer(frames, await socket.receive_bytes()))
        except WebSocketDisconnect:
            return

    files = {f"{name}.onnx": path for name, path in models.items()} | {blazeface.MODEL.name: blazeface.MODEL}

    @app.get("/models/{name}")
    def model(name: str) -> Response:
        return Response(files[name].read_bytes(), media_type="application/octet-stream")

    app.mount("/", StaticFiles(directory=page_folder.PAGE, html=True))
    return app
