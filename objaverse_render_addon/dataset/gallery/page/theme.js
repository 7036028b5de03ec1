"use strict";
// Before the first paint, so that a dark page does not flash white.
{
  const names = ["auto", "dark", "light"];
  let stored = "auto";
  try {
    stored = localStorage.getItem("gallery-theme") || "auto";
  } catch {
    // A page from disk may have no storage; then the choice lasts as long as the page.
  }
  const set = (name) => {
    const theme = names.includes(name) ? name : "auto";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("gallery-theme", theme);
    } catch {
      // See above.
    }
    document.dispatchEvent(new Event("themechange"));
  };
  set(stored);
  window.galleryTheme = {
    get name() {
      return document.documentElement.dataset.theme;
    },
    next() {
      set(names[(names.indexOf(this.name) + 1) % names.length]);
    },
  };
}
