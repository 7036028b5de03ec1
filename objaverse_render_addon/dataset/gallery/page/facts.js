"use strict";
// What the metadata say, as lists and tables; all of it is text to the page.
const facts = (() => {
  const { make } = dom;
  const HINTS = { ok: "ok", doubt: "doubt", failed: "failed" };

  function section(title, ...children) {
    const body = children.filter((child) => child != null && child !== false);
    return body.length ? make("section", {}, make("h3", {}, title), ...body) : null;
  }

  function list(rows) {
    const found = rows.filter(([, value]) => value !== "" && value != null && value !== "–");
    if (!found.length) return null;
    return make("dl", {},
      ...found.map(([name, value]) =>
        make("div", {}, make("dt", {}, name),
          make("dd", {}, value instanceof Node ? value : String(value)))));
  }

  const object = (value) =>
    value && typeof value === "object" && !Array.isArray(value) ? value : {};

  function failure(record) {
    if (!record) return null;
    return make("section", { class: "failure", role: "note" },
      make("h3", {}, "Failed: ", make("code", {}, record.reason)),
      make("p", {}, record.message),
      record.hint ? make("p", { class: "hint" }, `→ ${record.hint}`) : null,
      record.source ? make("p", { class: "source" }, record.source) : null,
      record.log ? make("details", { open: true }, make("summary", {}, "The worker’s last words"), make("pre", {}, record.log)) : null);
  }

  function camera(view) {
    const sampled = object(view.sampled);
    const degrees = (value) => (typeof value === "number" ? `${dom.number(value, 1)}°` : "");
    const [x, y] = view.fov;
    const [, , , px, , , , py, , , , pz] = view.pose;
    return section(`View ${view.index ?? ""}`,
      list([
        ["azimuth", degrees(sampled.azimuth_degrees)],
        ["elevation", degrees(sampled.elevation_degrees)],
        ["radius", typeof sampled.radius === "number" ? dom.number(sampled.radius, 3) : ""],
        ["lens", view.lens],
        ["held out", view.split === "test" ? "for tests" : ""],
        ["field of view", x ? `${dom.number(x, 1)}° × ${dom.number(y, 1)}°` : ""],
        ["pixels per unit", view.lens === "orthographic" ? dom.number(view.k[0], 1) : ""],
        ["focal length", view.lens === "perspective" ? `${dom.number(view.k[0], 1)} px` : ""],
        ["position", [px, py, pz].map((v) => dom.number(v, 2)).join(", ")],
        ["picture", `${view.size[0]} × ${view.size[1]} px`],
        ["object", `${dom.number(100 * (view.coverage ?? 0), 1)} % of it`],
      ]));
  }

  // Every check: how it came out in this view, the number it rests on, and in all views.
  function checks(view, summary) {
    const here = object(view.checks);
    const all = object(summary);
    const names = [...new Set([...Object.keys(all), ...Object.keys(here)])];
    if (!names.length) return null;
    const weight = (name) => (object(all[name]).failed ? 2 : object(all[name]).doubt ? 1 : 0);
    names.sort((a, b) => weight(b) - weight(a) || filter.compare(a, b));
    const rows = names.map((name) => {
      const [status, value] = Array.isArray(here[name]) ? here[name] : [];
      const counts = object(all[name]);
      const total = Object.values(counts).reduce((sum, n) => sum + (Number(n) || 0), 0);
      return make("tr", {},
        make("td", {}, make("span", { class: `dot ${HINTS[status] ?? "none"}`, title: status ?? "not run" })),
        make("th", { scope: "row" }, name.replaceAll("_", " ")),
        make("td", { class: "number" }, typeof value === "number" ? dom.number(value) : "–"),
        make("td", { class: "number" }, `${Number(counts.ok) || 0}/${total}`));
    });
    const doubts = names.filter((name) => weight(name)).length;
    return make("section", {},
      make("h3", {}, "Checks ", make("span", { class: "quiet" }, doubts ? dom.count(doubts, "doubt") : "all ok")),
      make("table", {},
        make("thead", {}, make("tr", {}, make("th", {}, ""), make("th", { scope: "col" }, "check"),
          make("th", { scope: "col" }, "this view"), make("th", { scope: "col" }, "ok in"))),
        make("tbody", {}, ...rows)));
  }

  function warnings(metadata) {
    const found = Array.isArray(metadata.warnings) ? metadata.warnings : [];
    if (!found.length) return null;
    return section("Warnings", make("ul", { class: "warnings" },
      ...found.map((text) => {
        const [name, ...rest] = String(text).split(":");
        return make("li", {}, make("code", {}, name), rest.join(":"));
      })));
  }

  function asset(metadata, card) {
    const settings = object(metadata.render_settings);
    const size = object(metadata.normalization);
    const span = (low, high) =>
      Array.isArray(low) && Array.isArray(high)
        ? low.map((v, i) => dom.number(high[i] - v, 2)).join(" × ")
        : "";
    const known = object(metadata.metadata);
    return [
      section("Source", list([
        ["licence", metadata.license || card.l ? dom.linked(metadata.license || card.l) : "unknown"],
        ["file", metadata.file_name],
        ["from", dom.linked(metadata.file_identifier ?? "")],
        ["page", dom.address(known.viewerUrl) ? dom.linked(known.viewerUrl) : ""],
        ["author", object(known.user).displayName || object(known.user).username || ""],
        ["size", dom.bytes(card.b)],
        ["SHA-256", metadata.sha256 ? make("code", { class: "hash", title: metadata.sha256 }, metadata.sha256) : ""],
        ["categories", card.c.join(", ")],
        ["tags", card.t.join(", ")],
      ])),
      section("Object", list([
        ["faces", dom.number(metadata.faces_rendered ?? metadata.poly_count)],
        ["vertices", dom.number(metadata.vert_count)],
        ["meshes", dom.number(metadata.mesh_count)],
        ["materials", dom.number(metadata.material_count)],
        ["box", span(size.bbox_min, size.bbox_max)],
        ["scale", dom.number(size.scale)],
        ["normalised", size.method],
        ["importer", metadata.importer],
      ])),
      section("Render", list([
        ["cameras", settings.camera_distribution],
        ["engine", settings.engine],
        ["samples", dom.number(settings.samples)],
        ["lighting", object(metadata.lighting).mode],
        ["device", settings.device],
        ["Blender", settings.blender_version],
        ["seed", metadata.seed],
        ["time", card.s ? `${dom.number(card.s, 1)} s` : ""],
      ])),
    ];
  }

  // All metadata as a tree whose branches are made when they are opened.
  function tree(name, value) {
    if (value === null || typeof value !== "object")
      return make("div", { class: "leaf" }, make("span", { class: "key" }, name), dom.linked(value === null ? "null" : value));
    const entries = Object.entries(value);
    if (Array.isArray(value) && value.length <= 4 && value.every((v) => typeof v === "number"))
      return make("div", { class: "leaf" }, make("span", { class: "key" }, name), `[${value.map((v) => dom.number(v)).join(", ")}]`);
    const branch = make("details", {}, make("summary", {}, make("span", { class: "key" }, name),
      make("span", { class: "quiet" }, Array.isArray(value) ? `${entries.length} items` : `${entries.length} keys`)));
    branch.addEventListener("toggle", () => {
      if (branch.open && branch.childElementCount === 1)
        branch.append(...entries.map(([key, item]) => tree(key, item)));
    });
    return branch;
  }

  return { asset, camera, checks, failure, section, tree, warnings, object };
})();
