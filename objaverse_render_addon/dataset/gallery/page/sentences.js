"use strict";
// A composed scene: masks and boxes over its picture, and what is said of each view.
const sentences = (() => {
  const { make } = dom;
  const SVG = "http://www.w3.org/2000/svg";
  const SHOWN = ["all", "boxes", "none"];
  const RELATED = {
    on: "is on", in: "is in", next_to: "is next to", left: "is left of", front: "is in front of",
    taller: "is taller than", bigger: "is bigger than", same_color: "has the colour of",
  };
  const WIDE = 320, HIGH = 240, EDGE = 28;

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
      this.graph = make("section", { class: "related", "aria-label": "What is related to what" });
      this.relation = null;
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
      const focused = [this.list, this.table, this.graph].some((part) => part.contains(document.activeElement));
      this.view = this.language.views[place] ?? null;
      this.pinned = null;
      this.shapes = new Map();
      this.spaces = new Map();
      this.overlay.replaceChildren();
      // What had the focus goes; keys have to arrive all the same.
      if (focused) dom.byId("detail-name").focus({ preventScroll: true });
      if (!this.view) {
        this.list.replaceChildren();
        this.table.replaceChildren();
        this.graph.replaceChildren();
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
      for (const place of this.view.places ?? []) {
        const group = shape("g", { class: "place", "data-id": place.id });
        group.append(shape("path", { d: place.path, "fill-rule": "evenodd" }),
          ...place.points.map(([x, y]) => shape("circle", { cx: x, cy: y, r: width / 110 })));
        this.overlay.append(group);
        this.spaces.set(place.id, group);
      }
      this.sentences();
      this.objects();
      this.relations();
    }

    sentences() {
      const choice = this.languages.length > 1
        ? make("select", { "aria-label": "Language", onchange: (event) => { this.spoken = event.target.value; this.sentences(); } },
            ...this.languages.map((name) => make("option", { value: name, selected: name === this.spoken }, name)))
        : null;
      const items = [...this.view.said.map((one) => this.sentence(one)),
        ...(this.view.places ?? []).map((one) => this.space(one))].filter(Boolean);
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

    // Free space: where it is, and the points of it that are stated.
    space(one) {
      const [first, ...others] = one.texts.filter((text) => text.language === this.spoken);
      if (!first) return null;
      const called = one.references.map((id) => `${id} ${this.language.objects[id]?.name ?? ""}`).join(", ");
      const button = make("button", { type: "button", class: "one space", "data-id": one.id, "aria-pressed": "false" },
        make("span", { class: "text", lang: first.language }, ...marked(first)),
        ...others.map((text) => make("span", { class: "also", lang: text.language }, text.text)),
        make("span", { class: "facts" },
          make("span", { class: "type" }, "free space"), make("span", {}, `by ${called}`),
          make("span", {}, dom.count(one.points.length, "point")), this.margin(one.margin)));
      this.highlights(button, [], one.references, one.id);
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

    // Objects as they stand, seen from above with the viewer below, and arrows between them.
    relations() {
      this.nodes = new Map();
      const graph = this.view.graph;
      const known = graph ? Object.keys(RELATED).filter((name) => graph.pairs[name]?.length) : [];
      if (!known.length) {
        this.graph.replaceChildren();
        return;
      }
      if (!known.includes(this.relation)) this.relation = known[0];
      const pairs = graph.pairs[this.relation];
      const sure = pairs.filter(([, , margin]) => margin >= 1).length;
      const choice = make("select", { "aria-label": "Relation", onchange: (event) => { this.relation = event.target.value; this.relations(); } },
        ...known.map((name) => make("option", { value: name, selected: name === this.relation }, RELATED[name])));
      const picture = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${sure} pairs: the first ${RELATED[this.relation]} the second` });
      const tip = shape("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 5, markerHeight: 5, orient: "auto" });
      tip.append(shape("path", { d: "M0 0L8 4L0 8Z" }));
      picture.append(tip);
      const at = this.spread(graph.places);
      const both = this.relation === "next_to" || this.relation === "same_color";
      const drawn = new Map();
      for (const [from, to, margin] of pairs) {
        const [a, b] = [at.get(from), at.get(to)];
        if (!a || !b) continue;
        const long = Math.max(1, Math.hypot(b[0] - a[0], b[1] - a[1]));
        const short = (one, other) => [0, 1].map((axis) => one[axis] + (other[axis] - one[axis]) * Math.min(0.4, 9 / long));
        const [begin, end] = [short(a, b), short(b, a)];
        const line = shape("line", { class: margin >= 1 ? "sure" : "unsure", x1: begin[0], y1: begin[1], x2: end[0], y2: end[1], "data-from": from, "data-to": to });
        line.style.strokeWidth = margin >= 1 ? `${1 + Math.min(10, margin) / 4}px` : "1px";
        if (margin >= 1 && !both) line.setAttribute("marker-end", "url(#tip)");
        const name = (id) => `${id} ${this.language.objects[id]?.name ?? ""}`;
        const told = shape("title", {});
        told.textContent = `${name(from)} ${RELATED[this.relation]} ${name(to)}: ${margin >= 1 ? "sure" : "in doubt"}, margin ${dom.number(margin, 2)}`;
        line.append(told);
        picture.append(line);
        for (const one of [from, to]) drawn.set(one, [...(drawn.get(one) ?? []), line]);
      }
      for (const [id, [x, y]] of at) {
        const color = `rgb(${this.language.objects[id].color.map(Number).join(" ")})`;
        const node = shape("g", { class: "node", "data-id": id, tabindex: 0, "aria-label": `${id} ${this.language.objects[id].name}` });
        const text = shape("text", { x, y: y - 10 });
        text.textContent = this.language.objects[id].name;
        node.append(shape("circle", { cx: x, cy: y, r: 7, fill: color }), text);
        const on = () => {
          for (const line of picture.querySelectorAll("line")) line.classList.toggle("away", !(drawn.get(id) ?? []).includes(line));
          this.light([id]);
        };
        const off = () => {
          for (const line of picture.querySelectorAll("line")) line.classList.remove("away");
          this.pinned ? this.pinned.on() : this.light(null);
        };
        node.addEventListener("pointerenter", on);
        node.addEventListener("focus", on);
        node.addEventListener("pointerleave", off);
        node.addEventListener("blur", off);
        picture.append(node);
        this.nodes.set(id, node);
      }
      this.graph.replaceChildren(
        make("h3", {}, "Related ", make("span", { class: "quiet" }, `${sure} sure, ${pairs.length - sure} in doubt`), choice),
        picture);
    }

    // Metres to the drawing's places, alike along both axes.
    spread(places) {
      const all = Object.entries(places).map(([id, [right, away]]) => [Number(id), Number(right), -Number(away)]);
      const [xs, ys] = [1, 2].map((axis) => all.map((one) => one[axis]));
      const [left, top] = [Math.min(...xs), Math.min(...ys)];
      const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
      const scale = Math.min((WIDE - 2 * EDGE) / Math.max(width, 1e-6), (HIGH - 2 * EDGE) / Math.max(height, 1e-6));
      return new Map(all.map(([id, x, y]) => [id, [
        WIDE / 2 + (x - left - width / 2) * scale, HIGH / 2 + (y - top - height / 2) * scale]]));
    }

    // Under the mouse or the focus, and for good once it was clicked.
    highlights(button, targets, references, space = null) {
      const on = () => this.light(targets, references, space);
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

    light(targets, references = [], space = null) {
      this.overlay.classList.toggle("lit", targets !== null);
      for (const [id, group] of this.spaces) group.classList.toggle("target", id === space);
      for (const line of this.overlay.querySelectorAll("line")) line.remove();
      for (const [id, { group }] of this.shapes) {
        group.classList.toggle("target", Boolean(targets?.includes(id)));
        group.classList.toggle("reference", references.includes(id));
      }
      for (const [id, node] of this.nodes ?? []) {
        node.classList.toggle("target", Boolean(targets?.includes(id)));
        node.classList.toggle("reference", references.includes(id));
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
