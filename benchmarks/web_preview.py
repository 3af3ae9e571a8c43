"""`python -m benchmarks.web_preview`: how long a screen takes from the run to a browser's eyes, by either way there is.

Chromium, without a window, on the same machine, looks at the page (WebSocket) and at /stream.mjpg in turn. Each picture
bears its number; a script in the page notes when it first finds it there. Both clocks are the machine's.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np

from sapiens_stream import Segmenter
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.viewers.viewer import CameraView, LiveFigures, Screen
from sapiens_stream.viewers.web import WebPreview
from tests.browser import Page, chromium

CLIP = Path(__file__).parents[1] / "samples" / "people.mp4"
BITS = 12
BAR_HEIGHT = 16
RATE = 30

# A document of the server's own that holds nothing, so that only the stream's pictures are loaded in it.
STREAM = """
document.body.append(Object.assign(new Image(), { src: "/stream.mjpg" }));
window.source = document.querySelector("img");
"""
PAGE = "window.source = document.querySelector('.tile canvas')"
WATCH = """
window.seen = [];
const canvas = new OffscreenCanvas(%(bits)d, 1);
const context = canvas.getContext("2d", { willReadFrequently: true });
let last = -1;
(function look() {
  const width = source.naturalWidth ?? source.width;
  if (width) {
    context.drawImage(source, 0, %(row)d, width, 1, 0, 0, %(bits)d, 1);
    const pixels = context.getImageData(0, 0, %(bits)d, 1).data;
    let number = 0;
    for (let bit = 0; bit < %(bits)d; bit++) number = 2 * number + (pixels[4 * bit + 1] > 128);
    if (number !== last) seen.push([last = number, performance.timeOrigin + performance.now()]);
  }
  requestAnimationFrame(look);
})();
"""


def results(size: tuple[int, int]) -> list[Segmentation]:
    """Pictures of that (height, width) with the class maps of the built-in model."""
    model = Segmenter("builtin")
    with av.open(str(CLIP)) as container:
        frames = [frame for frame, _ in zip(container.decode(video=0), range(4), strict=False)]
    return [model(cv2.resize(frame.to_ndarray(format="rgb24"), size[::-1])) for frame in frames]


def bearing(result: Segmentation, number: int) -> Segmentation:
    """A copy, as a decoder yields it, whose first rows hold `number` in black and white."""
    rgb = result.frame.rgb.copy()
    bits = np.array([number >> (BITS - 1 - bit) & 1 for bit in range(BITS)], np.uint8) * 255
    width = rgb.shape[1]
    rgb[:BAR_HEIGHT] = bits[np.arange(width) * BITS // width, None]
    decoded = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
    frame = Frame(index=number, name=f"{number:06d}", decoded=decoded)
    return Segmentation(frame=frame, class_map=result.class_map, classes=result.classes)


def delays(browser: Page, preview: WebPreview, pictures: list[Segmentation], seconds: float, way: str) -> list[float]:
    """Milliseconds from `show` to the canvas, of every picture that was seen."""
    figures = LiveFigures(model="builtin", device="cpu")
    browser.open(preview.url + ("nowhere" if way == "stream" else ""))
    preview.show(Screen(views=[CameraView(camera="clip", latest=bearing(pictures[0], 0))], figures=figures))
    time.sleep(0.5)
    browser.evaluate(STREAM if way == "stream" else PAGE)
    browser.evaluate(WATCH % {"bits": BITS, "row": BAR_HEIGHT // 2})
    shown = {}
    start = time.monotonic()
    for number in range(1, int(seconds * RATE)):
        screen = Screen(
            views=[CameraView(camera="clip", latest=bearing(pictures[number % 4], number))], figures=figures
        )
        # Not in step with the browser's own 60 pictures a second, whose phase would otherwise decide the result.
        time.sleep(max(0.0, start + (number + random.random() / 2) / RATE - time.monotonic()))
        shown[number] = time.time() * 1000
        preview.show(screen)
    time.sleep(0.5)
    seen = browser.evaluate("seen")
    return [at - shown[number] for number, at in seen if shown.get(number, np.inf) <= at and number > RATE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    arguments = parser.parse_args()
    for size in ((480, 640), (720, 1280)):
        pictures = results(size)
        found: dict[str, list[float]] = {"page": [], "stream": []}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, chromium(Path(folder)) as browser:
            browser.look(width=1440, height=900)
            preview = WebPreview(pictures[0].classes, port=0, keep_background=True)
            for way in ("page", "stream") * 2:
                found[way] += delays(browser, preview, pictures, arguments.seconds, way)
            preview.close()
        medians = {way: statistics.median(values) for way, values in found.items()}
        possible = 2 * (arguments.seconds * RATE - RATE - 1)
        print(
            f"{size[1]}x{size[0]}: the page's delay is {medians['page'] / medians['stream']:.2f} x that of the stream"
        )
        for way, values in found.items():
            late = statistics.quantiles(values, n=20)[-1]
            rate = len(values) / possible
            print(f"  {way:<8}{medians[way]:6.1f} ms, 95 %: {late:6.1f} ms; {rate:4.0%} of the pictures seen")


if __name__ == "__main__":
    main()
