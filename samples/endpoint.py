"""An HTTP endpoint: a photo in the body of a POST, its parts as JSON or as a painted PNG in the answer.

    pip install fastapi uvicorn
    python samples/endpoint.py
    curl --data-binary @photo.jpg http://127.0.0.1:8080/segment
    curl --data-binary @photo.jpg http://127.0.0.1:8080/overlay -o overlay.png

It listens to this machine alone and bounds what a stranger's upload may cost: bytes, pixels, seconds, and how many are
worked on at a time. To serve others put it behind a proxy that knows who they are.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import cv2
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.trustedhost import TrustedHostMiddleware

from sapiens_stream import InputError, Result, Segmenter, segment

HOST, PORT = "127.0.0.1", 8080
HOSTS = ["127.0.0.1", "localhost"]  # a page elsewhere that has its name point here is refused
MOST_BYTES = 20 << 20
MOST_PIXELS = 40_000_000
MOST_SECONDS = 30.0  # for an upload to arrive
AT_A_TIME = 4


@asynccontextmanager
async def _model(app: FastAPI) -> AsyncIterator[None]:
    with Segmenter("builtin") as model:
        app.state.model = model
        app.state.free = asyncio.Semaphore(AT_A_TIME)
        yield


app = FastAPI(title="sapiens-stream", lifespan=_model)
app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)


@app.post("/segment")
async def parts(request: Request) -> dict[str, Any]:
    """The classes found, their areas, boxes and outlines: `frame.schema.json`."""
    return (await _segmented(request)).to_dict()


@app.post("/overlay")
async def overlay(request: Request) -> Response:
    """The photo with the classes' colours over it, PNG."""
    painted = (await _segmented(request)).overlay()
    _, png = await run_in_threadpool(cv2.imencode, ".png", painted[..., ::-1])
    return Response(png.tobytes(), media_type="image/png")


async def _segmented(request: Request) -> Result:
    async with request.app.state.free:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                photo = await _body(request)
        except TimeoutError:
            raise HTTPException(408, f"the photo did not arrive within {MOST_SECONDS:g} seconds") from None
        return await run_in_threadpool(_segment, photo, request.app.state.model)


async def _body(request: Request) -> bytes:
    """The body, given up as soon as it is too large, whatever its header says."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"more than {MOST_BYTES} bytes")
    return bytes(body)


def _segment(photo: bytes, model: Segmenter) -> Result:
    skipped: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"  # its content says what it really is
        path.write_bytes(photo)
        try:
            results = segment(path, model=model, max_pixels=MOST_PIXELS, on_skip=lambda it: skipped.append(it.reason))
            with closing(results):
                for result in results:
                    return result
        except InputError as error:
            skipped.append(str(error).replace(f"{folder}/", ""))
    raise HTTPException(422, f"not a photo that can be read: {'; '.join(skipped)}")


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host=HOST, port=PORT, limit_concurrency=4 * AT_A_TIME)
