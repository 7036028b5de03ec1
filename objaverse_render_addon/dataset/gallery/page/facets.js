"use strict";
// The column of filters.
const facets = (() => {
  const SHORT = 8;
  const { make } = dom;
  const open = new Set();
  const LABELS = { clean: "done, clean", doubts: "with doubts", warnings: "with warnings" };

  /* Draw all facets. `onChange` is called after a choice. A value that no card has is shown where
     it is chosen, so that it can be given up. */
  function draw(root, counts, all, chosen, onChange) {
    const focused = document.activeElement?.dataset?.facet;
    root.replaceChildren();
    const some = Object.values(chosen).some((set) => set.size);
    root.append(
      make(
        "div",
        { class: "facets-head" },
        make("h2", {}, "Filters"),
        make(
          "button",
          {
            type: "button",
            class: "quiet",
            disabled: !some,
            onclick() {
              for (const set of Object.values(chosen)) set.clear();
              onChange();
            },
          },
          "Clear",
        ),
      ),
    );
    filter.FACETS.forEach((facet, number) => {
      const set = (chosen[facet.name] ??= new Set());
      const values = [...new Set([...all[number].keys(), ...set])];
      if (!values.length || (values.length === 1 && !set.size && facet.name !== "state")) return;
      const here = counts[number];
      if (facet.order) values.sort((a, b) => facet.order.indexOf(a) - facet.order.indexOf(b));
      else
        values.sort(
          (a, b) => set.has(b) - set.has(a) || all[number].get(b) - all[number].get(a) ||
            filter.compare(a, b),
        );
      const shown = open.has(facet.name) ? values : values.slice(0, Math.max(SHORT, set.size));
      const group = make("fieldset", {}, make("legend", {}, facet.title));
      for (const value of shown) group.append(row(facet, value, here.get(value) ?? 0, set, onChange));
      if (values.length > SHORT) {
        const more = make(
          "button",
          {
            type: "button",
            class: "quiet more",
            "data-facet": `${facet.name} more`,
            "aria-expanded": String(open.has(facet.name)),
            onclick() {
              if (!open.delete(facet.name)) open.add(facet.name);
              draw(root, counts, all, chosen, onChange);
            },
          },
          open.has(facet.name) ? "fewer" : `all ${values.length}`,
        );
        group.append(more);
      }
      root.append(group);
    });
    if (focused) {
      for (const element of root.querySelectorAll("[data-facet]")) {
        if (element.dataset.facet === focused) element.focus();
      }
    }
  }

  function row(facet, value, count, set, onChange) {
    const box = make("input", {
      type: "checkbox",
      "data-facet": `${facet.name} ${value}`,
      onchange() {
        if (box.checked) set.add(value);
        else set.delete(value);
        onChange();
      },
    });
    box.checked = set.has(value);
    const name = facet.name === "state" ? (LABELS[value] ?? value) : value;
    return make(
      "label",
      { class: count ? "" : "none", title: value },
      box,
      facet.name === "state" && make("span", { class: `dot ${value}` }),
      make("span", { class: "value" }, name),
      make("span", { class: "number" }, dom.number(count)),
    );
  }

  return { draw };
})();
