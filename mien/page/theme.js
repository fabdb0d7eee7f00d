/** Light or dark: as the system says, until the person chooses. */

const KEY = "mien-theme";

/** @param {HTMLButtonElement} button Names the other one. */
export function followTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const page = document.documentElement;
  const isDark = () => (page.dataset.theme ? page.dataset.theme === "dark" : system.matches);
  const name = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Show the page ${isDark() ? "light" : "dark"}`);
  };
  const stored = remembered(() => localStorage.getItem(KEY));
  if (stored) page.dataset.theme = stored;
  button.onclick = () => {
    page.dataset.theme = isDark() ? "light" : "dark";
    remembered(() => localStorage.setItem(KEY, String(page.dataset.theme)));
    name();
  };
  system.onchange = name;
  name();
}

/**
 * What the browser stores; nothing where the person lets pages store nothing.
 *
 * @template T
 * @param {() => T} storage
 */
function remembered(storage) {
  try {
    return storage();
  } catch {
    return null;
  }
}
