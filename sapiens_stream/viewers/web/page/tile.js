// One camera's picture with its classes' colours over it.

const OPAQUE = 0xff000000;

/** Colour of each class id as a pixel of ImageData; a class that is off is painted as the background is. */
export function palette(classes, isOn) {
  const pixels = new Uint32Array(256); // ImageData's bytes are R, G, B, A: in a little-endian word A is on top
  const background = isOn(0) ? word(classes[0].colour) : 0;
  pixels.fill(background);
  classes.forEach(({ colour }, id) => {
    if (id && isOn(id)) pixels[id] = word(colour);
  });
  return pixels;
}

function word([red, green, blue]) {
  return (OPAQUE | (blue << 16) | (green << 8) | red) >>> 0;
}

export class Tile {
  #canvas;
  #caption;
  #trouble;
  #bitmap = null;
  #classMap = null;
  #overlay = document.createElement("canvas");
  #pixels = null;

  constructor() {
    this.element = document.getElementById("tile").content.firstElementChild.cloneNode(true);
    this.#canvas = this.element.querySelector("canvas");
    this.#caption = this.element.querySelector("figcaption");
    this.#trouble = this.element.querySelector(".trouble");
  }

  get canvas() {
    return this.#canvas;
  }

  /** Takes what is new of this camera; `paint` shows it. */
  take(view) {
    this.#caption.textContent = view.camera;
    this.#canvas.ariaLabel = `Picture of ${view.camera}`;
    if (view.bitmap) {
      this.#bitmap?.close();
      this.#bitmap = view.bitmap;
      this.#classMap = view.classMap;
    }
    const waiting = this.#bitmap ? null : "waiting for the first picture";
    const text = view.trouble ?? waiting ?? "";
    if (this.#trouble.textContent !== text) this.#trouble.textContent = text;
    this.#trouble.hidden = !text;
    this.element.classList.toggle("stale", Boolean(view.trouble));
  }

  paint({ palette, opacity, beside, upright }) {
    if (!this.#bitmap) return;
    const { width, height } = this.#bitmap;
    this.#colour(palette, width, height);
    const across = beside && !upright ? 2 : 1;
    const down = beside && upright ? 2 : 1;
    resize(this.#canvas, across * width, down * height);
    const context = this.#canvas.getContext("2d", { alpha: false });
    const [x, y] = [(across - 1) * width, (down - 1) * height];
    if (beside) context.drawImage(this.#bitmap, 0, 0);
    context.drawImage(this.#bitmap, x, y);
    context.globalAlpha = opacity;
    context.drawImage(this.#overlay, x, y);
    context.globalAlpha = 1;
  }

  #colour(palette, width, height) {
    const context = this.#overlay.getContext("2d");
    if (resize(this.#overlay, width, height) || !this.#pixels) this.#pixels = context.createImageData(width, height);
    const words = new Uint32Array(this.#pixels.data.buffer);
    const ids = this.#classMap;
    for (let index = 0; index < ids.length; index++) words[index] = palette[ids[index]];
    context.putImageData(this.#pixels, 0, 0);
  }
}

function resize(canvas, width, height) {
  if (canvas.width === width && canvas.height === height) return false;
  canvas.width = width;
  canvas.height = height;
  return true;
}
