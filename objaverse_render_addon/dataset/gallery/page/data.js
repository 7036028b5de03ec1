"use strict";
// Data come as scripts that call gallery.receive, because a page from disk may not fetch.
// Everything in them is text and numbers of strangers: it is parsed, never run.
const gallery = (() => {
  const PATHS = /^(catalogue|index\/[0-9a-f]{16}|assets\/[0-9a-f]{2}\/[0-9a-f]{20}\/(detail|failure))\.js$/;
  const rules = {
    createScriptURL(url) {
      if (!PATHS.test(url)) throw new TypeError(`${url} is no file of this page`);
      return url;
    },
  };
  const policy = window.trustedTypes ? window.trustedTypes.createPolicy("gallery", rules) : rules;
  const waiting = new Map();

  function receive(kind, key, text) {
    const name = `${kind} ${key}`;
    waiting.get(name)?.(JSON.parse(text));
    waiting.delete(name);
  }

  function load(kind, key, url) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      waiting.set(`${kind} ${key}`, resolve);
      element.onload = () => {
        element.remove();
        reject(new Error(`${url} holds something else`)); // Without effect where it was received.
      };
      element.onerror = () => {
        element.remove();
        reject(new Error(`${url} is missing`));
      };
      element.src = policy.createScriptURL(url);
      document.head.append(element);
    });
  }

  const folder = (card) => `assets/${card.k.slice(0, 2)}/${card.k}`;
  const recent = new Map();

  // What there is to know of an asset; the last few are kept.
  function detail(card) {
    const known = recent.get(card.k);
    if (known) return known;
    const found = Promise.all([
      card.v && card.p ? load("detail", card.k, `${folder(card)}/detail.js`) : null,
      card.r ? load("failure", card.k, `${folder(card)}/failure.js`) : null,
    ]).then(([seen, failure]) => ({ seen, failure }));
    recent.set(card.k, found);
    found.catch(() => recent.delete(card.k));
    if (recent.size > 8) recent.delete(recent.keys().next().value);
    return found;
  }

  return {
    receive,
    detail,
    folder,
    catalogue: () => load("catalogue", "catalogue", "catalogue.js"),
    cards: (name) => load("cards", name, `index/${name}.js`),
  };
})();
window.gallery = gallery;
