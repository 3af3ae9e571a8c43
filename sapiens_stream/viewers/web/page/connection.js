// The WebSocket to the run: decodes its screens, acknowledges them, connects again when it is lost.

const FIRST_PAUSE = 500; // milliseconds
const LONGEST_PAUSE = 5000;
const HIDDEN_PAUSE = 1000;

/** Inflates to so many bytes. A stream from a Blob would be shorter to write, but takes the way through another process. */
async function inflate(bytes, size) {
  const { readable, writable } = new DecompressionStream("deflate");
  const writer = writable.getWriter();
  const written = Promise.all([writer.write(bytes), writer.close()]);
  const inflated = new Uint8Array(size);
  let length = 0;
  for (const reader = readable.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    inflated.set(value, length);
    length += value.length;
  }
  await written;
  return inflated;
}

/** Screen of a message: its header, whose views that came with a picture hold `bitmap` and `classMap`. */
async function decode(message) {
  const length = new DataView(message).getUint32(0, true);
  const screen = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  let offset = 4 + length;
  const take = (size) => new Uint8Array(message, (offset += size) - size, size);
  await Promise.all(screen.views.map(async (view) => {
    if (view.jpeg === undefined) return;
    const jpeg = new Blob([take(view.jpeg)], { type: "image/jpeg" });
    const deflated = take(view.class_map);
    [view.bitmap, view.classMap] = await Promise.all([createImageBitmap(jpeg), inflate(deflated, view.width * view.height)]);
  }));
  return screen;
}

/** Whether there is a server that does not let this page in, as its token is another; of a WebSocket no status is told. */
async function isRefused() {
  try {
    return (await fetch("favicon.svg", { method: "HEAD" })).status === 403;
  } catch {
    return false; // nobody answers
  }
}

/**
 * Calls `onWelcome(settings)` once connected, `onScreen(screen)` for each screen, `onLost(reason, refused)` when it is
 * gone, and each time that it cannot be made anew.
 */
export class Connection {
  #socket;
  #pause = FIRST_PAUSE;
  #handlers;

  constructor(handlers) {
    this.#handlers = handlers;
    this.#connect();
  }

  send(text) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  #connect() {
    const socket = new WebSocket(new URL("screens", location.href.replace(/^http/, "ws")));
    socket.binaryType = "arraybuffer";
    let inOrder = Promise.resolve();
    socket.onmessage = ({ data }) => {
      inOrder = inOrder.then(() => this.#take(socket, data)).catch((error) => {
        console.error(error);
        socket.close();
      });
    };
    socket.onclose = async ({ reason }) => {
      this.#handlers.onLost(reason, !reason && (await isRefused()));
      setTimeout(() => this.#connect(), this.#pause);
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    };
    this.#socket = socket;
  }

  async #take(socket, data) {
    if (typeof data === "string") {
      this.#pause = FIRST_PAUSE;
      this.#handlers.onWelcome(JSON.parse(data));
      return;
    }
    this.#handlers.onScreen(await decode(data));
    if (document.hidden) await new Promise((resolve) => setTimeout(resolve, HIDDEN_PAUSE));
    if (socket.readyState === WebSocket.OPEN) socket.send("ack");
  }
}
