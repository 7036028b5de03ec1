"use strict";
// Elements out of data: text goes in as text, and as nothing else.
const dom = {
  make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child != null && child !== false));
    return element;
  },

  byId: (id) => document.getElementById(id),

  // A web address, and nothing that runs or reads: null for javascript:, data:, file: …
  address(text) {
    if (typeof text !== "string" || !/^https?:\/\//i.test(text.trim())) return null;
    try {
      const url = new URL(text.trim());
      const plain = url.protocol === "https:" || url.protocol === "http:";
      return plain && !url.username && !url.password ? url.href : null;
    } catch {
      return null;
    }
  },

  linked(text) {
    const url = dom.address(text);
    if (!url) return document.createTextNode(String(text));
    const link = dom.make("a", { target: "_blank", rel: "noopener noreferrer nofollow" }, text);
    link.href = url;
    return link;
  },

  count(number, one, many = `${one}s`) {
    return `${dom.number(number)} ${number === 1 ? one : many}`;
  },

  number(value, digits) {
    if (typeof value !== "number" || !Number.isFinite(value)) return "–";
    if (digits !== undefined) return value.toFixed(digits);
    if (Number.isInteger(value)) return value.toLocaleString("en-US");
    return Math.abs(value) >= 1000 || Math.abs(value) < 0.001
      ? value.toPrecision(3)
      : String(Number(value.toPrecision(4)));
  },

  bytes(value) {
    if (!value) return "–";
    const units = ["B", "kB", "MB", "GB"];
    const power = Math.min(3, Math.floor(Math.log10(value) / 3));
    return `${(value / 1000 ** power).toFixed(power && value / 1000 ** power < 100 ? 1 : 0)} ${units[power]}`;
  },

  typing(event) {
    const { target } = event;
    return (
      target instanceof HTMLTextAreaElement ||
      target instanceof HTMLSelectElement ||
      (target instanceof HTMLInputElement && target.type !== "checkbox")
    );
  },
};
