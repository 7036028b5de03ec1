"use strict";
// One asset: its passes, its views, the rig, and what is known of it.
const detail = (() => {
  const { make, byId } = dom;
  const BACKGROUNDS = ["stage", "checker", "white", "black"];
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  let dialog;
  let actions; // {close, step(by), change(view, pass), ramp()}
  let parts; // the elements of the asset that is shown
  let card;
  let seen;
  let view = 0;
  let pass;
  let background = 0;
  let playing = 0;
  let ticket = 0;

  function start(given) {
    actions = given;
    dialog = byId("detail");
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      actions.close();
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) actions.close();
    });
    dialog.addEventListener("keydown", onKey);
    new ResizeObserver(() => redraw()).observe(dialog);
  }

  // Show an asset, or another view or pass of the one that is shown.
  async function show(next, wantedView, wantedPass, place, total) {
    if (card === next && dialog.open) {
      if (seen) choose(wantedView ?? view, wantedPass ?? pass.name, false);
      return;
    }
    stop();
    const mine = ++ticket;
    card = next;
    seen = null;
    frame(place, total);
    if (!dialog.open) dialog.showModal();
    // What had the focus is gone; keys have to arrive here all the same.
    byId("detail-name").focus({ preventScroll: true });
    let found;
    try {
      found = await gallery.detail(next);
    } catch (error) {
      if (mine === ticket)
        parts.main.replaceChildren(make("p", { class: "sorry" }, `The files of this asset cannot be read: ${error.message}.`));
      return;
    }
    if (mine !== ticket) return;
    if (found.seen) {
      seen = found.seen;
      pass = seen.passes.find((p) => p.name === wantedPass) ?? seen.passes[0];
      view = Number.isInteger(wantedView) && seen.views[wantedView] ? wantedView : seen.first;
      fill(found.failure);
    } else {
      parts.main.replaceChildren(facts.failure(found.failure) ?? make("p", {}, "There is nothing to show."));
      parts.main.classList.add("lost");
    }
  }

  function close() {
    ticket++;
    stop();
    card = seen = null;
    if (dialog.open) dialog.close();
    dialog.replaceChildren();
  }

  // The head, and the room for the rest.
  function frame(place, total) {
    const button = (text, label, keys, action, disabled = false) =>
      make("button", { type: "button", title: `${label} (${keys})`, "aria-label": label, disabled, onclick: action }, text);
    const states = filter.states(card);
    const notes = states.map((state) =>
      make("span", { class: "note" }, make("span", { class: `dot ${state}` }),
        { clean: "done", failed: card.r, doubts: dom.count(card.d.length, "doubt"), warnings: dom.count(card.w.length, "warning") }[state]));
    parts = { main: make("div", { class: "detail-main" }) };
    dialog.replaceChildren(
      make("header", {},
        make("div", { class: "names" },
          make("h2", { id: "detail-name", tabindex: "-1" }, card.n),
          make("p", {}, make("code", {}, card.i), ...notes)),
        place >= 0 ? make("span", { class: "place" }, `${dom.number(place + 1)} of ${dom.number(total)}`) : null,
        button("‹", "Previous asset", "k", () => actions.step(-1), place <= 0),
        button("›", "Next asset", "j", () => actions.step(1), place < 0 || place + 1 >= total),
        button("✕", "Close", "Esc", () => actions.close())),
      parts.main);
  }

  function fill(failure) {
    const metadata = facts.object(seen.metadata);
    parts.stage = make("canvas", { role: "img" });
    parts.caption = make("p", { class: "caption", "aria-live": "polite" });
    parts.passes = make("div", { class: "passes", role: "tablist", "aria-label": "Passes" });
    parts.film = make("div", { class: "film", role: "listbox", "aria-label": "Views" });
    parts.legend = make("div");
    parts.said = seen.language ? new sentences.Panel(seen.language) : null;
    parts.camera = make("div");
    parts.checks = make("div");
    parts.play = make("button", { type: "button", title: "Turn (Space)", "aria-label": "Turn around the object", onclick: toggle }, "▶");
    const arrow = (text, label, by) =>
      make("button", { type: "button", class: "arrow", "aria-label": label, onclick: () => step(by) }, text);
    parts.box = make("div", { class: `stage ${BACKGROUNDS[background]}` },
      parts.stage, arrow("‹", "Previous view", -1), arrow("›", "Next view", 1),
      make("div", { class: "tools" }, parts.play,
        parts.said && make("button", { type: "button", title: "Boxes and masks (o)", "aria-label": "Boxes and masks of the objects", onclick: outlines }, "▣"),
        make("button", { type: "button", title: "Background (b)", "aria-label": "Background of the picture", onclick: nextBackground }, "◐")),
      parts.caption);
    if (parts.said) parts.stage.after(parts.said.overlay);
    parts.box.style.setProperty("--ratio", seen.tile[0] / seen.tile[1]);
    parts.tabs = seen.passes.map((p, number) => {
      const canvas = make("canvas");
      const tab = make("button", {
        type: "button", role: "tab", title: `${p.about}${number < 9 ? ` (${number + 1})` : ""}`,
        onclick: () => choose(view, p.name),
      }, canvas, make("span", {}, p.tab));
      parts.passes.append(tab);
      return { tab, canvas, pass: p };
    });
    parts.frames = seen.views.map((record, index) => {
      const canvas = make("canvas");
      const doubt = Object.values(facts.object(record.checks)).some((c) => c?.[0] === "doubt");
      const item = make("button", {
        type: "button", role: "option", "aria-label": `View ${index}${doubt ? ", with doubts" : ""}`,
        tabindex: "-1", onclick: () => choose(index, pass.name),
      }, canvas, make("span", {}, String(index)), doubt && make("span", { class: "dot doubts" }));
      parts.film.append(item);
      return { item, canvas, index };
    });
    const rigCanvas = make("canvas", {
      class: "rig", tabindex: "0", role: "application",
      "aria-label": "Camera rig in 3D. Arrow keys turn it, plus and minus zoom, 0 goes back.",
    });
    parts.rig = new rig.Rig(rigCanvas, (index) => choose(index, pass.name));
    parts.look = make("button", { type: "button", "aria-pressed": "false", title: "Look through the camera (l)", onclick: look }, "Look through");
    parts.main.replaceChildren(
      make("div", { class: "pictures" },
        facts.failure(failure), parts.passes, parts.box, parts.said?.list, parts.legend, parts.film),
      make("aside", { class: "side", "aria-label": "About this asset" },
        make("div", { class: "rig-box" }, rigCanvas,
          make("p", { class: "hint" }, "drag to turn · wheel to zoom · click a camera"), parts.look),
        parts.said?.table, parts.said?.graph, parts.camera, facts.warnings(metadata), parts.checks,
        ...facts.asset(metadata, card),
        facts.section("Metadata", facts.tree("metadata.json", metadata))));
    parts.rig.show(seen, facts.object(metadata.normalization).method);
    const { frames } = parts;
    parts.lazy = new IntersectionObserver((entries) => {
      if (!seen || frames !== parts.frames) return; // Closed, or of the asset that was shown before.
      for (const entry of entries)
        if (entry.isIntersecting) thumbnail(frames[Number(entry.target.dataset.index)]);
    }, { root: parts.main });
    for (const { item, index } of parts.frames) {
      item.dataset.index = index;
    }
    choose(view, pass.name, false, true);
  }

  function thumbnail({ canvas, index }) {
    if (canvas.shows === pass.name) return;
    canvas.shows = pass.name;
    pictures.draw(canvas, gallery.folder(card), seen, pass, index);
  }

  // Show a view in a pass; tell the page's address unless it was the one to say so.
  function choose(index, name, tell = true, anew = false) {
    const nextPass = seen.passes.find((p) => p.name === name) ?? pass;
    const total = seen.views.length;
    const nextView = Number.isInteger(index) ? ((index % total) + total) % total : view;
    const passChanged = anew || nextPass !== pass;
    if (!passChanged && nextView === view && !anew) return;
    view = nextView;
    pass = nextPass;
    const folder = gallery.folder(card);
    const record = seen.views[view];
    pictures.draw(parts.stage, folder, seen, pass, view);
    parts.stage.setAttribute("aria-label", `${card.n}, view ${view}, ${pass.name}`);
    const pose = facts.object(record.sampled);
    const angle = (value) => (typeof value === "number" ? `${dom.number(value, 0)}°` : "");
    const where = [
      angle(pose.azimuth_degrees) && `azimuth ${angle(pose.azimuth_degrees)}`,
      angle(pose.elevation_degrees) && `elevation ${angle(pose.elevation_degrees)}`,
    ].filter(Boolean);
    const moving = typeof record.time === "number";
    const which = moving ? `view ${record.view} at frame ${record.time}` : `view ${view} of ${total}`;
    parts.caption.textContent = [which, ...where].join(" · ");
    for (const { tab, canvas, pass: p } of parts.tabs) {
      tab.setAttribute("aria-selected", String(p === pass));
      tab.tabIndex = p === pass ? 0 : -1;
      pictures.draw(canvas, folder, seen, p, view);
    }
    for (const { item, index: i } of parts.frames) {
      item.setAttribute("aria-selected", String(i === view));
      item.tabIndex = i === view ? 0 : -1;
    }
    if (passChanged) {
      parts.lazy.disconnect();
      for (const { item } of parts.frames) parts.lazy.observe(item);
    }
    parts.legend.replaceChildren(pictures.legend(seen, pass, record, actions.ramp()));
    if (!playing) {
      parts.camera.replaceChildren(facts.camera(record));
      const table = facts.checks(record, facts.object(seen.metadata).checks);
      parts.checks.replaceChildren(...(table ? [table] : []));
    }
    parts.said?.show(view);
    parts.rig.setView(view);
    const [wanted, shownIn] = [view, parts];
    pictures.tile(folder, seen, pass, view).then(
      (tile) => { if (wanted === view && shownIn === parts) parts.rig.setTexture(tile); },
      () => {},
    );
    if (tell) actions.change(view, pass.name);
  }

  function redraw() {
    if (!seen || !parts.tabs) return;
    const folder = gallery.folder(card);
    pictures.draw(parts.stage, folder, seen, pass, view);
    for (const { canvas, pass: p } of parts.tabs) pictures.draw(canvas, folder, seen, p, view);
  }

  const step = (by) => choose(view + by, pass.name);

  function nextBackground() {
    background = (background + 1) % BACKGROUNDS.length;
    parts.box.className = `stage ${BACKGROUNDS[background]}`;
  }

  function outlines() {
    parts.said?.next();
  }

  function look() {
    parts.look.setAttribute("aria-pressed", String(parts.rig.look()));
  }

  function toggle() {
    if (playing) {
      stop();
      choose(view, pass.name, true, true);
      return;
    }
    const order = seen.order.length > 1 ? seen.order : seen.views.map((_, index) => index);
    let at = Math.max(0, order.indexOf(view));
    parts.play.textContent = "❚❚";
    // An animation plays as fast as it is, where pictures can keep up.
    const pace = typeof seen.pace === "number" ? Math.max(40, seen.pace) : 2600 / order.length;
    const pause = Math.max(still.matches ? 600 : seen.pace ? 40 : 70, pace);
    playing = setInterval(() => {
      at = (at + 1) % order.length;
      choose(order[at], pass.name, false);
    }, pause);
  }

  function stop() {
    clearInterval(playing);
    playing = 0;
    if (parts?.play) parts.play.textContent = "▶";
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || dom.typing(event)) return;
    const passBy = (by) => {
      const index = seen.passes.indexOf(pass) + by;
      choose(view, seen.passes[(index + seen.passes.length) % seen.passes.length].name);
    };
    const general = { j: () => actions.step(1), k: () => actions.step(-1) };
    const onAsset = {
      ArrowLeft: () => step(-1), ArrowRight: () => step(1),
      ArrowUp: () => passBy(-1), ArrowDown: () => passBy(1),
      Home: () => choose(0, pass.name), End: () => choose(seen.views.length - 1, pass.name),
      b: nextBackground, l: look, o: outlines, " ": toggle,
    };
    let action = general[event.key];
    if (!action && seen) {
      action = onAsset[event.key];
      if (/^[1-9]$/.test(event.key) && seen.passes[event.key - 1])
        action = () => choose(view, seen.passes[event.key - 1].name);
      // A focused button means its own thing by the space bar.
      if (event.key === " " && event.target.closest("button, summary, a")) action = null;
    }
    if (!action) return;
    event.preventDefault();
    action();
  }

  return {
    start,
    show,
    close,
    get card() {
      return card;
    },
    get rig() {
      return parts?.rig;
    },
  };
})();
