import { afterEach, expect, test, vi } from "vitest";
import { commandOf, readable, SHORTCUTS } from "../../../src/app/input/shortcuts.ts";

const press = (key: string, more: Partial<KeyboardEvent> = {}) => ({
  ...{ key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false },
  ...more,
});

test.each([
  ["z", { ctrlKey: true }, "undo"],
  ["Z", { ctrlKey: true, shiftKey: true }, "redo"],
  ["z", { metaKey: true }, "undo"],
  ["z", {}, "actualSize"],
  ["Z", { shiftKey: true }, "actualSize"],
  ["Tab", {}, "nextCandidate"],
  ["Tab", { shiftKey: true }, "previousCandidate"],
  ["?", { shiftKey: true }, "help"],
  ["+", { shiftKey: true }, "zoomIn"],
  ["c", { ctrlKey: true }, null],
  ["i", { altKey: true }, null],
  ["q", {}, null],
  ["[", {}, "smaller"],
  ["[", { altKey: true }, "smaller"],
  ["]", { altKey: true, ctrlKey: true }, "larger"],
  ["[", { metaKey: true }, null],
])("%s with %o means %s", (key, more, command) => {
  expect(commandOf(press(key, more))).toBe(command);
});

afterEach(() => void vi.unstubAllGlobals());

test.each([
  ["mod+shift+z", "Ctrl Shift Z", "⌘ Shift Z"],
  ["+", "+", "+"],
])("%s is written as %s, or %s", (key, elsewhere, apple) => {
  vi.stubGlobal("navigator", { userAgent: "Linux" });
  expect(readable(key)).toBe(elsewhere);
  vi.stubGlobal("navigator", { userAgent: "Macintosh" });
  expect(readable(key)).toBe(apple);
});

test("no key has two meanings", () => {
  const keys = SHORTCUTS.flatMap(({ shortcuts }) => shortcuts.flatMap((one) => one.keys));
  expect(new Set(keys).size).toBe(keys.length);
});
