/** What an object looks like: its own colour, or that of its class for whoever checks classes. */
import { colorOf, type Drawn, type State } from "./model.ts";

/** Classless, and unlike any of the palette. */
const UNNAMED_COLOR = "#cbd5e1";

export function shownColor(
  { colors, classes }: Pick<State, "colors" | "classes">,
  { color, label }: Pick<Drawn, "color" | "label">,
): string {
  if (colors === "object") return color;
  const at = classes.indexOf(label);
  return at < 0 ? UNNAMED_COLOR : colorOf(at + 1);
}
