// The share of the picture that each class takes, stacked, over the last minute.

const SPAN = 60_000; // milliseconds
const GAP = 2_000; // without samples for so long, nothing is drawn between them
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]; // heights of the axis

export class Chart {
  #canvas;
  #samples = [];
  classes = [];

  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** Adds shares by class id, the background's too, which is not drawn. */
  add(time, areas) {
    this.#samples.push({ time, areas });
    while (this.#samples[0].time < time - SPAN - GAP) this.#samples.shift();
  }

  clear() {
    this.#samples = [];
  }

  draw(now, isOn) {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = devicePixelRatio;
    this.#canvas.width = clientWidth * scale;
    this.#canvas.height = clientHeight * scale;
    const context = this.#canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(this.#canvas);
    const ids = [...this.classes.keys()].slice(1).filter(isOn);
    const total = ({ areas }) => ids.reduce((sum, id) => sum + (areas[id] ?? 0), 0);
    const highest = Math.max(0, ...this.#samples.map(total));
    const top = STEPS.find((step) => step >= highest) ?? 1;
    const [left, right, bottom] = [38, clientWidth - 2, clientHeight - 18];
    const x = (time) => right - ((now - time) / SPAN) * (right - left);
    const y = (share) => bottom - (share / top) * (bottom - 8);

    this.#axes(context, { left, right, bottom, top, y, style });
    context.save();
    context.beginPath();
    context.rect(left, 0, right - left, bottom);
    context.clip();
    for (const run of this.#runs()) this.#stack(context, run, ids, x, y);
    context.restore();
  }

  #axes(context, { left, right, bottom, top, y, style }) {
    context.font = `11px ${style.fontFamily}`;
    context.fillStyle = style.getPropertyValue("--faint");
    context.strokeStyle = style.getPropertyValue("--line");
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const share of [0, top / 2, top]) {
      context.fillText(`${+(100 * share).toFixed(1)} %`, left - 6, y(share));
      context.beginPath();
      context.moveTo(left, y(share) + 0.5);
      context.lineTo(right, y(share) + 0.5);
      context.stroke();
    }
    context.textBaseline = "alphabetic";
    context.fillText("now", right, bottom + 14);
    context.textAlign = "left";
    context.fillText("1 min ago", left, bottom + 14);
  }

  /** The samples without the gaps between them. */
  #runs() {
    const runs = [];
    let last = -Infinity;
    for (const sample of this.#samples) {
      if (sample.time - last > GAP) runs.push([]);
      runs.at(-1).push(sample);
      last = sample.time;
    }
    return runs;
  }

  #stack(context, run, ids, x, y) {
    let floor = run.map(() => 0);
    for (const id of ids) {
      const ceiling = run.map(({ areas }, index) => floor[index] + (areas[id] ?? 0));
      if (ceiling.some((height, index) => height > floor[index])) {
        context.beginPath();
        run.forEach(({ time }, index) => context.lineTo(x(time), y(ceiling[index])));
        for (let index = run.length - 1; index >= 0; index--) context.lineTo(x(run[index].time), y(floor[index]));
        context.fillStyle = `rgb(${this.classes[id].colour.join(" ")})`;
        context.fill();
      }
      floor = ceiling;
    }
  }
}
