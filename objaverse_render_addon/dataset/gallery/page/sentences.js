"use strict";
// A composed scene: masks and boxes over its picture, and what is said of each view.
const sentences = (() => {
  const { make } = dom;
  const SVG = "http://www.w3.org/2000/svg";
  const SHOWN = ["all", "boxes", "none"];

  function shape(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  // Characters of Python's strings: a letter beyond 16 bits is one of them.
  function marked(text) {
    const letters = Array.from(text.text);
    const kinds = letters.map(() => "");
    // What is mentioned lies within what is meant, and is drawn over it.
    for (const [kind, begin, end] of text.spans)
      for (let at = Math.max(0, begin); at < Math.min(end, letters.length); at++) kinds[at] = kind;
    const pieces = [];
    letters.forEach((letter, at) => {
      if (at && kinds[at] === kinds[at - 1]) pieces.at(-1)[1] += letter;
      else pieces.push([kinds[at], letter]);
    });
    return pieces.map(([kind, piece]) => (kind ? make("span", { class: `span-${kind}` }, piece) : piece));
  }

  class Panel {
    constructor(language) {
      this.language = language;
      this.view = null;
      this.pinned = null;
      this.shown = 0;
      this.overlay = shape("svg", { class: "outlines", "aria-hidden": "true", preserveAspectRatio: "none" });
      this.list = make("section", { class: "said", "aria-label": "What is said" });
      this.table = make("section", { class: "things", "aria-label": "Objects" });
      const all = language.views.flatMap((view) => view?.said ?? []).flatMap((one) => one.texts);
      this.languages = [...new Set(all.map((text) => text.language))];
      this.spoken = this.languages[0];
      this.overlay.classList.add(SHOWN[this.shown]);
    }

    next() {
      this.overlay.classList.remove(SHOWN[this.shown]);
      this.shown = (this.shown + 1) % SHOWN.length;
      this.overlay.classList.add(SHOWN[this.shown]);
    }

    // A view by its place; what was pinned in another view means nothing in this one.
    show(place) {
      if (this.place === place) return;
      this.place = place;
      const focused = [this.list, this.table].some((part) => part.contains(document.activeElement));
      this.view = this.language.views[place] ?? null;
      this.pinned = null;
      this.shapes = new Map();
      this.overlay.replaceChildren();
      // What had the focus goes; keys have to arrive all the same.
      if (focused) dom.byId("detail-name").focus({ preventScroll: true });
      if (!this.view) {
        this.list.replaceChildren();
        this.table.replaceChildren();
        return;
      }
      const [width, height] = this.view.size;
      this.overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
      for (const thing of this.view.objects) {
        if (!thing.box) continue;
        const [left, top, right, bottom] = thing.box;
        const color = `rgb(${this.language.objects[thing.id].color.map(Number).join(" ")})`;
        const group = shape("g", { "data-id": thing.id, color });
        group.append(
          shape("path", { d: thing.path, "fill-rule": "evenodd" }),
          shape("rect", { x: left, y: top, width: right - left, height: bottom - top }));
        this.overlay.append(group);
        this.shapes.set(thing.id, { group, middle: [(left + right) / 2, (top + bottom) / 2] });
      }
      this.sentences();
      this.objects();
    }

    sentences() {
      const choice = this.languages.length > 1
        ? make("select", { "aria-label": "Language", onchange: (event) => { this.spoken = event.target.value; this.sentences(); } },
            ...this.languages.map((name) => make("option", { value: name, selected: name === this.spoken }, name)))
        : null;
      const items = this.view.said.map((one) => this.sentence(one)).filter(Boolean);
      this.list.replaceChildren(
        make("h3", {}, items.length ? dom.count(items.length, "sentence") : "Nothing is said of this view", choice),
        make("ol", {}, ...items));
    }

    sentence(one) {
      const [first, ...others] = one.texts.filter((text) => text.language === this.spoken);
      if (!first) return null;
      const called = (ids) => ids.map((id) => `${id} ${this.language.objects[id]?.name ?? ""}`).join(", ");
      const needed = Object.entries(one.needed).filter(([, yes]) => yes).map(([part]) => part);
      const facts = [
        one.kind === "none" ? `of nothing: ${one.edit} changed` : called(one.targets),
        one.references.length ? `by ${called(one.references)}` : "",
        needed.length ? `needs ${needed.join(" and ")}` : "",
        one.pair ? `pair of ${one.pair}` : "",
      ].filter(Boolean);
      const button = make("button", { type: "button", class: `one ${one.kind}`, "data-id": one.id, "aria-pressed": "false" },
        make("span", { class: "text", lang: first.language }, ...marked(first)),
        ...others.map((text) => make("span", { class: "also", lang: text.language }, text.text)),
        make("span", { class: "facts" },
          make("span", { class: "type" }, one.type), ...facts.map((fact) => make("span", {}, fact)),
          this.margin(one.margin)));
      this.highlights(button, one.targets, one.references);
      return make("li", {}, button);
    }

    // 1 is just sure, 10 the most.
    margin(value) {
      const bar = make("span", { class: value < 1.25 ? "margin thin" : "margin", title: "Smallest margin of all that is claimed: 1 is just sure, 10 the most" },
        make("i"), `margin ${dom.number(value, 2)}`);
      bar.firstChild.style.width = `${4 + 3.6 * Math.min(10, Math.max(0, Number(value)))}px`;
      return bar;
    }

    objects() {
      const rows = this.view.objects.map((thing) => {
        const known = this.language.objects[thing.id];
        const swatch = make("span", { class: "swatch" });
        swatch.style.background = `rgb(${known.color.map(Number).join(" ")})`;
        const button = make("button", { type: "button", class: "thing", "data-id": thing.id, "aria-pressed": "false" },
          swatch, make("span", { class: "name" }, `${thing.id} ${known.name}`),
          make("span", { class: "number" }, `${dom.number(100 * thing.seen, 0)} % visible`),
          ...thing.doubts.map((doubt) => make("span", { class: "doubt" }, make("span", { class: "dot doubts" }), doubt)));
        this.highlights(button, [thing.id], []);
        return make("li", {}, button);
      });
      const doubts = this.view.objects.filter((thing) => thing.doubts.length).length;
      this.table.replaceChildren(
        make("h3", {}, "Objects ", make("span", { class: "quiet" }, doubts ? `${doubts} in doubt` : "none in doubt")),
        make("ul", {}, ...rows));
    }

    // Under the mouse or the focus, and for good once it was clicked.
    highlights(button, targets, references) {
      const on = () => this.light(targets, references);
      const off = () => (this.pinned ? this.pinned.on() : this.light(null));
      button.addEventListener("pointerenter", on);
      button.addEventListener("focus", on);
      button.addEventListener("pointerleave", off);
      button.addEventListener("blur", off);
      button.addEventListener("click", () => {
        const again = this.pinned?.button === button;
        this.pinned?.button.setAttribute("aria-pressed", "false");
        this.pinned = again ? null : { button, on };
        button.setAttribute("aria-pressed", String(!again));
        off();
      });
    }

    light(targets, references = []) {
      this.overlay.classList.toggle("lit", targets !== null);
      for (const line of this.overlay.querySelectorAll("line")) line.remove();
      for (const [id, { group }] of this.shapes) {
        group.classList.toggle("target", Boolean(targets?.includes(id)));
        group.classList.toggle("reference", references.includes(id));
      }
      for (const from of references)
        for (const to of targets ?? []) {
          const [a, b] = [this.shapes.get(from)?.middle, this.shapes.get(to)?.middle];
          if (a && b) this.overlay.append(shape("line", { x1: a[0], y1: a[1], x2: b[0], y2: b[1] }));
        }
    }
  }

  return { Panel };
})();
