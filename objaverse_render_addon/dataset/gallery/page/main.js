"use strict";
// The page: what is shown is what its address says, so that every state of it is a link.
{
  const { byId, make } = dom;
  const cards = [];
  let ramp = [];
  let total = 0;
  let complete = false;
  let state = read();
  let result = { fits: [], counts: filter.FACETS.map(() => new Map()) };
  let all = result.counts;
  let opener = null;

  // --- The address -------------------------------------------------------------------------

  function read() {
    const fields = new URLSearchParams(location.hash.slice(1));
    const chosen = {};
    for (const { name } of filter.FACETS) chosen[name] = new Set(fields.getAll(name));
    const view = fields.get("view");
    return {
      query: fields.get("q") ?? "",
      sort: filter.SORTS[fields.get("sort")] ? fields.get("sort") : "name",
      chosen,
      asset: fields.get("asset"),
      view: view !== null && /^\d{1,6}$/.test(view) ? Number(view) : undefined,
      pass: fields.get("pass") ?? undefined,
    };
  }

  function write(push = false) {
    const fields = new URLSearchParams();
    if (state.query) fields.set("q", state.query);
    if (state.sort !== "name") fields.set("sort", state.sort);
    for (const [name, set] of Object.entries(state.chosen))
      for (const value of set) fields.append(name, value);
    if (state.asset !== null) {
      fields.set("asset", state.asset);
      if (state.view !== undefined) fields.set("view", state.view);
      if (state.pass !== undefined) fields.set("pass", state.pass);
    }
    const hash = `#${fields}`;
    if (hash === location.hash || (hash === "#" && !location.hash)) return;
    if (push) history.pushState(null, "", hash);
    else history.replaceState(null, "", hash);
  }

  // --- The list ----------------------------------------------------------------------------

  function update(fromTop = true) {
    result = filter.run(cards, state.query, state.chosen, state.sort);
    facets.draw(byId("filters"), result.counts, all, state.chosen, () => {
      write();
      update();
    });
    const shown = dom.number(result.fits.length);
    byId("count").textContent = complete
      ? result.fits.length === cards.length
        ? dom.count(cards.length, "asset")
        : `${shown} of ${dom.count(cards.length, "asset")}`
      : `${dom.number(cards.length)} of ${dom.count(total, "asset")} loaded`;
    const empty = complete && !result.fits.length;
    byId("empty").hidden = !empty;
    byId("empty").firstElementChild.textContent = cards.length
      ? "No asset fits this search and these filters."
      : "There are no assets in this gallery.";
    byId("clear").hidden = !cards.length;
    grid.show(result.fits, fromTop);
  }

  function clear() {
    state.query = "";
    byId("search").value = "";
    for (const set of Object.values(state.chosen)) set.clear();
    write();
    update();
  }

  // --- One asset ---------------------------------------------------------------------------

  function open(card, push = true) {
    Object.assign(state, { asset: card.i, view: undefined, pass: state.pass });
    write(push);
    sync();
  }

  function close() {
    const card = detail.card;
    Object.assign(state, { asset: null, view: undefined, pass: undefined });
    write(true);
    sync();
    if (card && result.fits.includes(card)) grid.reveal(card);
    else opener?.focus?.();
  }

  // Show or hide the asset that the state names.
  function sync() {
    if (state.asset === null) {
      detail.close();
      document.title = byId("title").textContent;
      return;
    }
    const card = cards.find((c) => c.i === state.asset);
    if (!card) {
      if (complete) {
        const name = state.asset;
        state.asset = null;
        write();
        byId("count").textContent = `There is no asset ${name} here.`;
      }
      return;
    }
    document.title = `${card.n} · ${byId("title").textContent}`;
    detail.show(card, state.view, state.pass, grid.place(card), grid.size);
  }

  // --- Start -------------------------------------------------------------------------------

  const themeButton = byId("theme");
  const nameTheme = () => {
    const name = window.galleryTheme.name;
    themeButton.textContent = { auto: "◐", dark: "☾", light: "☀" }[name];
    themeButton.setAttribute("aria-label", `Theme: ${name}`);
    themeButton.title = `Theme: ${name} (t)`;
  };
  themeButton.addEventListener("click", () => window.galleryTheme.next());
  document.addEventListener("themechange", nameTheme);
  nameTheme();

  for (const [name, [title]] of Object.entries(filter.SORTS))
    byId("sort").append(make("option", { value: name }, title));
  byId("sort").value = state.sort;
  byId("sort").addEventListener("change", () => {
    state.sort = byId("sort").value;
    write();
    update();
  });

  const search = byId("search");
  search.value = state.query;
  search.addEventListener("input", () => {
    state.query = search.value;
    write();
    update();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (search.value) {
        search.value = state.query = "";
        write();
        update();
      } else search.blur();
      event.preventDefault();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      grid.focus(0);
    }
  });
  byId("clear").addEventListener("click", clear);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    grid.focus();
  });
  byId("filters-button").addEventListener("click", () => {
    const shown = document.body.classList.toggle("filters-open");
    byId("filters-button").setAttribute("aria-expanded", String(shown));
  });
  const help = byId("help");
  byId("help-button").addEventListener("click", () => help.showModal());
  byId("help-close").addEventListener("click", () => help.close());

  grid.start();
  byId("grid").addEventListener("click", (event) => {
    const element = event.target.closest("li");
    if (!element || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    opener = element.link;
    open(element.card);
  });
  detail.start({
    close,
    step(by) {
      const next = grid.neighbour(detail.card, by);
      if (next) open(next, false);
    },
    change(view, pass) {
      Object.assign(state, { view, pass });
      write();
    },
    ramp: () => ramp,
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dom.typing(event) || help.open) return;
    if (event.key === "?") help.showModal();
    else if (event.key === "t") window.galleryTheme.next();
    else if (event.key === "/" && !byId("detail").open) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });
  for (const name of ["hashchange", "popstate"])
    window.addEventListener(name, () => {
      state = read();
      search.value = state.query;
      byId("sort").value = state.sort;
      update(false);
      sync();
    });

  function take(part) {
    for (const card of part) {
      filter.prepare(card);
      cards.push(card);
    }
    all = filter.run(cards, "", {}, "id").counts;
    update(false);
    sync();
  }

  gallery.catalogue().then(async (catalogue) => {
    ramp = catalogue.ramp;
    total = catalogue.total;
    byId("title").textContent = catalogue.title;
    document.title = catalogue.title;
    // The first cards at once; the rest together, so that the list is sorted only twice.
    const [first, ...rest] = catalogue.chunks;
    if (first) take(await gallery.cards(first));
    const others = await Promise.all(rest.map((name) => gallery.cards(name)));
    complete = true;
    take(others.flat());
    document.documentElement.dataset.ready = "";
  }).catch((error) => {
    byId("count").textContent = `The gallery cannot be read: ${error.message}. Make it again.`;
  });
}
