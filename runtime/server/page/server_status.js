// Which models the server has, and how busy they are: GET page/status, again and again.

import { send } from "./completions.js";

const SECONDS = 2;

// Calls `onStatus` with the status, or `onError` with why it cannot be had, while the page is looked at.
export function watchStatus(key, onStatus, onError) {
  let timer = null;
  let asked = 0;
  async function ask() {
    clearTimeout(timer);
    const mine = ++asked;
    try {
      const response = await send("page/status", { key: key() });
      const status = await response.json();
      if (mine === asked) onStatus(status);
    } catch (error) {
      if (mine === asked) onError(error);
    }
    if (mine === asked && !document.hidden) timer = setTimeout(ask, SECONDS * 1000);
  }
  document.addEventListener("visibilitychange", () => !document.hidden && ask());
  ask();
  return ask;
}

// Returns how busy a model is, in words.
export function inWords({ slots, slots_in_use: used, waiting }) {
  const rest = waiting > 0 ? `, ${waiting} waiting` : "";
  return `${used} of ${slots} slots in use${rest}`;
}
