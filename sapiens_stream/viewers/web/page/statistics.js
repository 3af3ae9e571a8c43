// The run's figures in words and numbers.

const WINDOW = 2_000; // over which this browser's own rate is counted, milliseconds

export class Statistics {
  #places;
  #parts;
  #names;
  #painted = [];

  constructor() {
    this.#places = Object.fromEntries(
      [...document.querySelectorAll("[data-figure]")].map((place) => [place.dataset.figure, place]),
    );
    this.#parts = document.getElementById("parts");
    this.#names = document.getElementById("parts-names");
  }

  /** Counts a screen that was painted here. */
  count(now) {
    this.#painted.push(now);
    while (this.#painted[0] < now - WINDOW) this.#painted.shift();
  }

  show(figures, now) {
    const here = this.#painted.filter((time) => time >= now - WINDOW).length / (WINDOW / 1000);
    const texts = {
      shown: figures.shown_per_second.toFixed(1),
      inferred: figures.inferred_per_second.toFixed(1),
      delay: milliseconds(figures.delay_median),
      delay95: milliseconds(figures.delay_p95),
      carried: share(figures.carried, figures.shown),
      dropped: `${figures.dropped.toLocaleString()} (${share(figures.dropped, figures.received)})`,
      received: figures.received.toLocaleString(),
      here: here.toFixed(1),
    };
    for (const [name, text] of Object.entries(texts)) this.#places[name].textContent = text;
    this.#showParts(figures.parts_median);
  }

  #showParts(parts) {
    this.#parts.replaceChildren(...parts.map(([, median]) => {
      const bar = document.createElement("span");
      bar.style.flexGrow = median;
      return bar;
    }));
    this.#names.replaceChildren(...parts.map(([name, median]) => {
      const item = document.createElement("li");
      item.append(document.createElement("i"), `${name} ${milliseconds(median)} ms`);
      return item;
    }));
  }
}

function milliseconds(value) {
  if (value === null) return "–";
  return value.toFixed(value < 10 ? 1 : 0);
}

function share(part, whole) {
  return whole ? `${((100 * part) / whole).toFixed(1)} %` : "–";
}
