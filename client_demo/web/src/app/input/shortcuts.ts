/** Every key of the page, once: the keyboard reads this table, and so does the help sheet. */

export type Command =
  | "include"
  | "exclude"
  | "corner"
  | "keep"
  | "escape"
  | "nextCandidate"
  | "previousCandidate"
  | "undo"
  | "redo"
  | "delete"
  | "segment"
  | "brush"
  | "eraser"
  | "select"
  | "hand"
  | "smaller"
  | "larger"
  | "fit"
  | "actualSize"
  | "zoomIn"
  | "zoomOut"
  | "look"
  | "nextPicture"
  | "previousPicture"
  | "name"
  | "open"
  | "export"
  | "help";

export interface Shortcut {
  readonly command: Command;
  /** As `KeyboardEvent.key` has them, letters in lower case; "mod" is Ctrl or Command. */
  readonly keys: readonly string[];
  readonly help: string;
}

export interface ShortcutGroup {
  readonly title: string;
  readonly shortcuts: readonly Shortcut[];
}

const row = (command: Command, keys: readonly string[], help: string): Shortcut => ({
  command,
  keys,
  help,
});

export const SHORTCUTS: readonly ShortcutGroup[] = [
  {
    title: "Objects",
    shortcuts: [
      row("keep", ["Enter"], "Keep the object, start the next"),
      row("escape", ["Escape"], "Drop what was begun"),
      row("nextCandidate", ["c", "Tab"], "Next candidate"),
      row("previousCandidate", ["shift+Tab"], "Previous candidate"),
      row("name", ["n"], "Name the object"),
      row("delete", ["Delete", "Backspace"], "Delete the object"),
      row("undo", ["mod+z"], "Undo"),
      row("redo", ["mod+shift+z", "mod+y"], "Redo"),
    ],
  },
  {
    title: "Tools",
    shortcuts: [
      row("segment", ["s"], "Click and box"),
      row("brush", ["b"], "Brush"),
      row("eraser", ["e"], "Eraser"),
      row("select", ["v"], "Select objects"),
      row("hand", ["h"], "Move the picture"),
      row("smaller", ["["], "Smaller brush"),
      row("larger", ["]"], "Larger brush"),
    ],
  },
  {
    title: "View",
    shortcuts: [
      row("fit", ["f", "0"], "Fit the picture"),
      row("actualSize", ["z"], "100 %"),
      row("zoomIn", ["+", "="], "Zoom in"),
      row("zoomOut", ["-"], "Zoom out"),
      row("look", ["l"], "Fill or outline"),
      row("nextPicture", ["."], "Next picture"),
      row("previousPicture", [","], "Previous picture"),
    ],
  },
  {
    title: "Without a mouse",
    shortcuts: [
      row("include", ["i"], "Include at the crosshair"),
      row("exclude", ["x"], "Exclude at the crosshair"),
      row("corner", ["r"], "Set a corner of a box"),
      row("open", ["o"], "Open pictures"),
      row("export", ["mod+s"], "Export"),
      row("help", ["?"], "This sheet"),
    ],
  },
];

const BY_KEY = new Map(
  SHORTCUTS.flatMap(({ shortcuts }) => shortcuts).flatMap(({ command, keys }) =>
    keys.map((key) => [key, command] as const),
  ),
);

/** Many layouts have these only behind AltGr or Option. */
const BEHIND_ALT = /^[[\]]$/;

type Press = Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "shiftKey" | "altKey">;

/** The command of a key press; Shift counts only where it does not make another character. */
export function commandOf(press: Press): Command | null {
  if (press.altKey) {
    return BEHIND_ALT.test(press.key) && !press.metaKey ? (BY_KEY.get(press.key) ?? null) : null;
  }
  const key = press.key.length === 1 ? press.key.toLowerCase() : press.key;
  const mod = press.ctrlKey || press.metaKey ? "mod+" : "";
  const shift = press.shiftKey && (mod || press.key.length > 1) ? "shift+" : "";
  return BY_KEY.get(`${mod}${shift}${key}`) ?? null;
}

/** A key as keyboards have it written on them. */
export function readable(key: string): string {
  const apple = /Mac|iP(hone|ad)/.test(navigator.userAgent);
  return key
    .split("+")
    .map((part) => part || "+")
    .filter((part, index, all) => part !== "+" || all.length === 1 || index === 0)
    .map((part) => (part === "mod" ? (apple ? "⌘" : "Ctrl") : part === "shift" ? "Shift" : part))
    .map((part) => (part.length === 1 ? part.toUpperCase() : part))
    .join(" ");
}
