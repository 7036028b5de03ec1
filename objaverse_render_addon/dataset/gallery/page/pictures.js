"use strict";
// Tiles out of sheets, and what their colours mean.
const pictures = (() => {
  const { make } = dom;
  const sheets = new Map(); // path → Promise of an image
  const MOST = 48;

  function sheet(path) {
    let found = sheets.get(path);
    if (found) {
      sheets.delete(path); // Back to the end of the line.
    } else {
      found = new Promise((resolve, reject) => {
        const image = new Image();
        image.decoding = "async";
        image.onload = () => resolve(image);
        image.onerror = () => reject(new Error(`${path} is missing`));
        image.src = path;
      });
      found.catch(() => sheets.delete(path));
    }
    sheets.set(path, found);
    if (sheets.size > MOST) sheets.delete(sheets.keys().next().value);
    return found;
  }

  // Where a view's tile of a pass is: its sheet, and the corner in it.
  async function tile(folder, seen, pass, view) {
    const number = Math.floor(view / pass.tiles);
    const place = view % pass.tiles;
    const [width, height] = seen.tile;
    const image = await sheet(`${folder}/${pass.files[number]}`);
    return {
      image, width, height,
      x: (place % pass.columns) * width,
      y: Math.floor(place / pass.columns) * height,
    };
  }

  /* Draw a tile into a canvas that is as sharp as the screen. A later call for the same canvas
     wins, whichever image arrives first. */
  async function draw(canvas, folder, seen, pass, view) {
    const ticket = (canvas.ticket = (canvas.ticket ?? 0) + 1);
    let found;
    try {
      found = await tile(folder, seen, pass, view);
    } catch {
      canvas.classList.add("missing");
      return;
    }
    if (canvas.ticket !== ticket) return;
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    const width = Math.round((canvas.clientWidth || found.width) * ratio);
    const height = Math.round(width * (found.height / found.width));
    canvas.width = Math.max(1, width);
    canvas.height = Math.max(1, height);
    const context = canvas.getContext("2d");
    // Ids and masks have no values between their values.
    context.imageSmoothingEnabled = pass.smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(
      found.image, found.x, found.y, found.width, found.height, 0, 0, canvas.width, canvas.height,
    );
    canvas.classList.remove("missing");
  }

  const css = ([r, g, b]) => `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)})`;

  // --- Legends -----------------------------------------------------------------------------

  function legend(seen, pass, view, ramp) {
    const facts = make("p", { class: "about" }, `${pass.about} · ${pass.unit} · ${pass.space}`);
    const kinds = { ramp: rampLegend, axes: axesLegend, pair: pairLegend, mask: maskLegend, ids: idLegend,
      codes: idLegend, wheel: wheelLegend };
    const drawn = kinds[pass.legend]?.(seen, pass, view, ramp);
    return make("div", { class: `legend ${pass.legend}` }, drawn, facts);
  }

  function rampLegend(seen, pass, view, ramp) {
    if (!pass.span) return null;
    const [low, high] = pass.span;
    const bar = make("div", { class: "ramp" });
    bar.style.backgroundImage = `linear-gradient(to right, ${ramp.map(css).join(", ")})`;
    const at = (value) => `${(100 * (value - low)) / (high - low || 1)}%`;
    const own = view.ranges?.[pass.name];
    const box = make("div", { class: "scale" }, bar);
    if (own) {
      const mark = make("div", { class: "own", title: "this view" });
      mark.style.left = at(own[0]);
      mark.style.width = `calc(${at(own[1])} - ${at(own[0])})`;
      box.append(mark);
    }
    const ticks = make("div", { class: "ticks" });
    for (let i = 0; i <= 4; i++) {
      const value = low + ((high - low) * i) / 4;
      ticks.append(make("span", {}, dom.number(value, 2)));
    }
    box.append(ticks);
    const text = own
      ? `this view ${dom.number(own[0], 3)} to ${dom.number(own[1], 3)} ${pass.unit}`
      : "nothing of the object is in this view";
    return make(
      "div",
      { role: "img", "aria-label": `${pass.name} from ${dom.number(low, 3)} to ${dom.number(high, 3)} ${pass.unit}` },
      make("div", { class: "ends" }, make("span", {}, "near"), make("strong", {}, text), make("span", {}, "far")),
      box,
    );
  }

  // A ball whose colours are those of the normals that it shows, or bars for positions.
  function axesLegend(seen, pass) {
    const bars = make("div", { class: "axes" });
    const { span } = pass;
    pass.bars.forEach(([name, color]) => {
      const low = color.map((value) => (value ? 0 : 60));
      const high = color.map((value) => Math.max(value, 60));
      const bar = make("div", { class: "bar-of" });
      bar.style.backgroundImage = `linear-gradient(to right, ${css(low)}, ${css(high)})`;
      bars.append(
        make("div", {},
          make("span", { class: "end" }, dom.number(span?.[0] ?? -1, 2)), bar,
          make("span", { class: "end" }, dom.number(span?.[1] ?? 1, 2)),
          make("span", { class: "axis" }, name)),
      );
    });
    return make("div", { class: "row" }, pass.ball ? ball() : null, bars);
  }

  function ball() {
    const side = 96;
    const canvas = make("canvas", { width: side, height: side, class: "ball", "aria-hidden": "true" });
    const context = canvas.getContext("2d");
    const image = context.createImageData(side, side);
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        const x = ((column + 0.5) / side) * 2 - 1;
        const y = 1 - ((row + 0.5) / side) * 2;
        const rest = 1 - x * x - y * y;
        const at = 4 * (row * side + column);
        const z = Math.sqrt(Math.max(0, rest));
        image.data.set([x, y, z].map((value) => 127.5 * (value + 1)), at);
        image.data[at + 3] = 255 * Math.min(1, Math.max(0, (rest * side) / 4));
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  function pairLegend(seen, pass) {
    const bars = make("div", { class: "axes" });
    pass.bars.forEach(([name, color]) => {
      const bar = make("div", { class: "bar-of" });
      bar.style.backgroundImage = `linear-gradient(to right, rgb(0 0 0), ${css(color)})`;
      bars.append(make("div", {}, make("span", { class: "end" }, "0"), bar,
        make("span", { class: "end" }, "1"), make("span", { class: "axis" }, name)));
    });
    return bars;
  }

  function maskLegend(seen, pass, view) {
    const share = `${dom.number(100 * (view.coverage ?? 0), 1)} % of the picture`;
    return make("div", { class: "keys-of" },
      make("span", {}, swatch([255, 255, 255]), `1 object, ${share}`),
      make("span", {}, swatch([0, 0, 0]), "0 nothing"));
  }

  // The directions of flow around the middle: where a colour stands, there it moves.
  function wheelLegend(seen, pass) {
    const side = 96;
    const canvas = make("canvas", { width: side, height: side, class: "ball", "aria-hidden": "true" });
    const context = canvas.getContext("2d");
    const image = context.createImageData(side, side);
    const last = pass.wheel.length - 1;
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        const x = ((column + 0.5) / side) * 2 - 1;
        const y = ((row + 0.5) / side) * 2 - 1;
        const length = Math.hypot(x, y);
        const place = ((Math.atan2(-y, -x) / Math.PI + 1) / 2) * last;
        const below = pass.wheel[Math.floor(place)];
        const above = pass.wheel[(Math.floor(place) + 1) % pass.wheel.length];
        const part = place - Math.floor(place);
        const at = 4 * (row * side + column);
        image.data.set(below.map((value, i) =>
          255 - length * (255 - (value * (1 - part) + above[i] * part))), at);
        image.data[at + 3] = 255 * Math.min(1, Math.max(0, ((1 - length) * side) / 4));
      }
    }
    context.putImageData(image, 0, 0);
    const most = Math.max(...(pass.span ?? [0, 0]).map(Math.abs));
    const text = make("div", { class: "keys-of" },
      make("span", {}, `white: still, rim: ${dom.number(most, 2)} ${pass.unit}`),
      make("span", {}, swatch([128, 128, 128]), "not known"));
    return make("div", { class: "row" }, canvas, text);
  }

  function idLegend(seen, pass) {
    return make("div", { class: "keys-of" },
      ...pass.keys.map(([number, name, color]) =>
        make("span", { title: name }, swatch(color), `${number} ${name}`)));
  }

  function swatch(color) {
    const element = make("i", { class: "swatch" });
    element.style.backgroundColor = css(color);
    return element;
  }

  return { draw, legend, tile };
})();
