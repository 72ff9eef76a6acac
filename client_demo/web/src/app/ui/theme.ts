/** Light, dark, or as the system has it. */
import { Store } from "../state/store.ts";

export type Theme = "system" | "light" | "dark";

const KEY = "samwire-theme";
const ORDER: readonly Theme[] = ["system", "light", "dark"];

export function createTheme(): Store<Theme> {
  const saved = localStorage.getItem(KEY);
  const store = new Store<Theme>(ORDER.find((theme) => theme === saved) ?? "system");
  const apply = (theme: Theme) => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem(KEY, theme);
  };
  apply(store.get());
  store.subscribe(apply);
  return store;
}

export function nextTheme(theme: Theme): Theme {
  return ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length]!;
}
