"use strict";
// Which cards are shown, in which order, and how many each choice would show.
const filter = (() => {
  const STATES = ["clean", "doubts", "warnings", "failed"];
  // Facets in the order of the page: where their values are in a card.
  const FACETS = [
    { name: "state", title: "State", of: (card) => states(card), order: STATES },
    { name: "reason", title: "Reason of failure", of: (card) => (card.r ? [card.r] : []) },
    { name: "doubt", title: "Doubts", of: (card) => card.d },
    { name: "warning", title: "Warnings", of: (card) => card.w },
    { name: "licence", title: "Licence", of: (card) => [card.l || "unknown"] },
    { name: "category", title: "Category", of: (card) => card.c },
    { name: "tag", title: "Tags", of: (card) => card.t },
    { name: "type", title: "File type", of: (card) => (card.y ? [card.y] : []) },
  ];
  const compare = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;
  const SORTS = {
    name: ["Name", (a, b) => compare(a.n, b.n)],
    id: ["Id", (a, b) => compare(a.i, b.i)],
    problems: ["Problems first", (a, b) => trouble(b) - trouble(a)],
    faces: ["Most faces", (a, b) => b.f - a.f],
    size: ["Largest file", (a, b) => b.b - a.b],
    views: ["Most views", (a, b) => b.v - a.v],
    slow: ["Slowest", (a, b) => b.s - a.s],
  };

  function states(card) {
    const found = [];
    if (card.r) found.push("failed");
    if (card.w.length) found.push("warnings");
    if (card.d.length) found.push("doubts");
    return found.length ? found : ["clean"];
  }

  function trouble(card) {
    return (card.r ? 1e6 : 0) + card.w.length * 100 + card.d.length;
  }

  // Once per card: what search looks through, and the facets' values.
  function prepare(card) {
    card.text = [card.n, card.i, card.l, card.r, card.y, ...card.c, ...card.t, ...card.w, ...card.d]
      .join("\n")
      .toLowerCase();
    card.values = FACETS.map((facet) => facet.of(card));
  }

  /* The cards that fit, sorted, and per facet a Map of value to count: how many cards there would
     be with this value, all other facets and the search as they are. */
  function run(cards, query, chosen, sort) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const sets = FACETS.map((facet) => chosen[facet.name] ?? new Set());
    const counts = FACETS.map(() => new Map());
    const fits = [];
    for (const card of cards) {
      if (!words.every((word) => card.text.includes(word))) continue;
      let misses = 0;
      let missed = -1;
      for (let f = 0; f < sets.length && misses < 2; f++) {
        if (sets[f].size && !card.values[f].some((value) => sets[f].has(value))) {
          misses++;
          missed = f;
        }
      }
      if (misses > 1) continue;
      if (!misses) fits.push(card);
      for (let f = 0; f < sets.length; f++) {
        if (misses && f !== missed) continue;
        for (const value of card.values[f]) counts[f].set(value, (counts[f].get(value) ?? 0) + 1);
      }
    }
    const [, order] = SORTS[sort] ?? SORTS.name;
    fits.sort((a, b) => order(a, b) || compare(a.n, b.n) || compare(a.i, b.i));
    return { fits, counts };
  }

  return { FACETS, SORTS, STATES, compare, prepare, run, states };
})();
