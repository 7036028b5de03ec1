"use strict";
/* The grid draws the rows that are in sight and a few around them, however many there are.
   Elements are used again for other cards; the one with the focus stays. */
const grid = (() => {
  const { make, byId } = dom;
  const LEAST = 184; // px, of a card's width
  const GAP = 14;
  const TEXT = 84; // px, below the picture
  const AHEAD = 2; // rows
  const TURN = 1700; // ms

  let cards = [];
  let root;
  let scroller;
  let columns = 1;
  let width = LEAST;
  let active = 0;
  let pending = false;
  const shown = new Map(); // index → element
  const spare = [];
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  const pitch = () => width + TEXT + GAP;

  function start() {
    root = byId("grid");
    scroller = byId("results");
    scroller.addEventListener("scroll", soon, { passive: true });
    new ResizeObserver(layout).observe(scroller);
    root.addEventListener("keydown", onKey);
    root.addEventListener("focusin", (event) => {
      const index = Number(event.target.closest("li")?.dataset.index);
      if (Number.isInteger(index)) setActive(index);
    });
  }

  // Show these cards; from the top where they are an answer to somebody's choice.
  function show(list, fromTop) {
    const before = cards[active];
    cards = list;
    active = fromTop ? 0 : Math.max(0, cards.indexOf(before));
    if (fromTop) scroller.scrollTop = 0;
    for (const [index, element] of shown) release(index, element);
    shown.clear();
    layout();
  }

  function layout() {
    const style = getComputedStyle(scroller);
    const room = scroller.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (room <= 0) return;
    columns = Math.max(1, Math.floor((room + GAP) / (LEAST + GAP)));
    width = Math.floor((room - GAP * (columns - 1)) / columns);
    root.style.height = `${Math.ceil(cards.length / columns) * pitch()}px`;
    for (const [index, element] of shown) place(index, element);
    draw();
  }

  function soon() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      draw();
    });
  }

  function draw() {
    const top = scroller.scrollTop - root.offsetTop;
    const first = Math.max(0, (Math.floor(top / pitch()) - AHEAD) * columns);
    const last = Math.min(
      cards.length,
      (Math.ceil((top + scroller.clientHeight) / pitch()) + AHEAD) * columns,
    );
    for (const [index, element] of shown) {
      const outside = index < first || index >= last;
      if (outside && !element.contains(document.activeElement)) {
        release(index, element);
        shown.delete(index);
      }
    }
    for (let index = first; index < last; index++) {
      if (shown.has(index)) continue;
      const element = spare.pop() ?? blank();
      fill(element, cards[index], index);
      place(index, element);
      shown.set(index, element);
      if (!element.isConnected) root.append(element);
      element.hidden = false;
    }
  }

  function release(index, element) {
    stop(element);
    element.hidden = true;
    element.image.removeAttribute("src");
    spare.push(element);
  }

  function place(index, element) {
    element.style.width = `${width}px`;
    element.style.height = `${width + TEXT}px`;
    const x = (index % columns) * (width + GAP);
    const y = Math.floor(index / columns) * pitch();
    element.style.transform = `translate(${x}px, ${y}px)`;
  }

  function blank() {
    const image = make("img", { alt: "", decoding: "async", draggable: "false" });
    const turn = make("div", { class: "turn", hidden: true });
    const reason = make("div", { class: "reason" });
    const picture = make("div", { class: "picture" }, image, turn, reason);
    const name = make("span", { class: "name" });
    const ident = make("span", { class: "id" });
    const facts = make("span", { class: "facts" });
    const link = make("a", { draggable: "false" }, picture, name, ident, facts);
    const element = make("li", { class: "card" }, link);
    Object.assign(element, { image, turn, reason, name, ident, facts, link });
    link.addEventListener("pointerenter", () => play(element));
    link.addEventListener("pointerleave", () => stop(element));
    link.addEventListener("focus", () => play(element));
    link.addEventListener("blur", () => stop(element));
    link.addEventListener("pointermove", (event) => {
      if (still.matches) step(element, event.offsetX / element.clientWidth);
    });
    return element;
  }

  function fill(element, card, index) {
    element.card = card;
    element.dataset.index = index;
    element.setAttribute("aria-setsize", cards.length);
    element.setAttribute("aria-posinset", index + 1);
    element.classList.toggle("failed", Boolean(card.r));
    const link = element.link;
    link.href = `#${new URLSearchParams({ asset: card.i })}`;
    link.tabIndex = index === active ? 0 : -1;
    const states = filter.states(card);
    link.setAttribute("aria-label", `${card.n}, ${states.join(", ")}, ${dom.count(card.v, "view")}`);
    if (card.p) element.image.src = `${gallery.folder(card)}/card.${card.p}`;
    element.image.hidden = !card.p;
    element.reason.textContent = card.p ? "" : card.r;
    element.name.textContent = card.n;
    element.ident.textContent = card.i;
    element.name.title = card.n;
    const notes = [];
    if (card.r) notes.push(["failed", card.p ? card.r : "failed"]);
    if (card.w.length) notes.push(["warnings", dom.count(card.w.length, "warning")]);
    if (card.d.length) notes.push(["doubts", dom.count(card.d.length, "doubt")]);
    if (!notes.length) notes.push(["clean", dom.count(card.v, "view")]);
    element.facts.replaceChildren(
      ...notes.map(([kind, text]) =>
        make("span", { class: "note" }, make("span", { class: `dot ${kind}` }), text),
      ),
      ...(card.l ? [make("span", { class: "chip", title: card.l }, card.l)] : []),
    );
  }

  // --- The turntable -----------------------------------------------------------------------

  function play(element) {
    const { card, turn } = element;
    if (!(card.turn > 1) || element.timer) return;
    const image = new Image();
    image.onload = () => {
      if (element.card !== card || !element.wanted) return;
      turn.style.backgroundImage = `url("${image.src}")`;
      turn.style.backgroundSize = `${card.turn * 100}% 100%`;
      step(element, 0);
      turn.hidden = false;
      if (still.matches) return;
      const from = performance.now();
      element.timer = setInterval(
        () => step(element, ((performance.now() - from) / TURN) % 1),
        TURN / card.turn,
      );
    };
    element.wanted = true;
    image.src = `${gallery.folder(card)}/turn.${card.p}`;
  }

  function step(element, share) {
    const { turn } = element.card;
    const frame = Math.min(turn - 1, Math.max(0, Math.floor(share * turn)));
    element.turn.style.backgroundPositionX = `${(frame / (turn - 1)) * 100}%`;
  }

  function stop(element) {
    clearInterval(element.timer);
    element.timer = 0;
    element.wanted = false;
    element.turn.hidden = true;
  }

  // --- Keys --------------------------------------------------------------------------------

  function setActive(index) {
    const before = shown.get(active);
    if (before) before.link.tabIndex = -1;
    active = index;
    const now = shown.get(index);
    if (now) now.link.tabIndex = 0;
  }

  function focus(index = active) {
    if (!cards.length) return;
    const target = Math.max(0, Math.min(cards.length - 1, index));
    const top = root.offsetTop + Math.floor(target / columns) * pitch();
    const bottom = top + pitch();
    if (top < scroller.scrollTop) scroller.scrollTop = top - GAP;
    else if (bottom > scroller.scrollTop + scroller.clientHeight)
      scroller.scrollTop = bottom - scroller.clientHeight + GAP;
    draw();
    setActive(target);
    shown.get(target)?.link.focus({ preventScroll: true });
  }

  function onKey(event) {
    const rows = Math.max(1, Math.floor(scroller.clientHeight / pitch()));
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
      PageUp: -rows * columns, PageDown: rows * columns, Home: -Infinity, End: Infinity,
    };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    focus(active + steps[event.key]);
  }

  return {
    start,
    show,
    focus,
    reveal(card) {
      const index = cards.indexOf(card);
      if (index >= 0) focus(index);
    },
    neighbour(card, by) {
      const index = cards.indexOf(card);
      return index < 0 ? undefined : cards[index + by];
    },
    place: (card) => cards.indexOf(card),
    get size() {
      return cards.length;
    },
  };
})();
