// The classes with their colours, a switch and the present share of each.

const KEPT = 60_000; // a class that was not seen for so long is dimmed, milliseconds

export class Legend {
  #rows = [];
  #onChange;

  constructor(list, onChange) {
    this.list = list;
    this.#onChange = onChange;
  }

  /** Builds the rows anew; `on` says which are switched on. */
  fill(classes, on) {
    this.#rows = classes.map(({ name, colour }, id) => {
      const item = document.createElement("li");
      const label = document.createElement("label");
      const box = document.createElement("input");
      const text = document.createElement("span");
      const share = document.createElement("span");
      box.type = "checkbox";
      box.checked = on(id);
      box.addEventListener("change", this.#onChange);
      box.style.setProperty("--colour", `rgb(${colour.join(" ")})`);
      text.className = "name";
      text.textContent = label.title = name.replaceAll("_", " ");
      share.className = "share";
      label.append(box, text, share);
      label.classList.add("absent");
      item.append(label);
      return { item, label, box, share, seen: -Infinity };
    });
    this.list.replaceChildren(...this.#rows.map(({ item }) => item));
  }

  isOn = (id) => this.#rows[id].box.checked;

  /** Switches every class on or off; the background stays as it is. */
  switchAll(on) {
    for (const { box } of this.#rows.slice(1)) box.checked = on;
    this.#onChange();
  }

  /** Shows shares of the picture, by class id. */
  show(areas, now) {
    this.#rows.forEach((row, id) => {
      if (areas[id]) row.seen = now;
      row.label.classList.toggle("absent", now - row.seen > KEPT);
      const text = areas[id] ? percent(areas[id]) : "";
      if (row.share.textContent !== text) row.share.textContent = text;
    });
  }
}

function percent(share) {
  return share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}
