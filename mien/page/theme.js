/** The light and the dark theme: the system's choice, until the user chooses. */

const KEY = "mien-theme";

/** @param {HTMLButtonElement} button Switches to the other theme. */
export function initTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  };
  const stored = tryStorage(() => localStorage.getItem(KEY));
  if (stored) root.dataset.theme = stored;
  button.onclick = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    tryStorage(() => localStorage.setItem(KEY, String(root.dataset.theme)));
    label();
  };
  system.onchange = label;
  label();
}

/**
 * Uses the browser's storage; returns null if the user has disabled it.
 *
 * @template T
 * @param {() => T} access
 */
function tryStorage(access) {
  try {
    return access();
  } catch {
    return null;
  }
}
