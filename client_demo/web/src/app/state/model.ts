/** What the page knows. All of it is plain, frozen by type, and replaced rather than changed. */
import type { Box, Extent } from "../geometry/points.ts";
import type { Numbers } from "./numbers.ts";

/** x, y, label: 1 includes, 0 excludes. */
export type PromptPoint = readonly [number, number, 0 | 1];

export interface Prompts {
  readonly points: readonly PromptPoint[];
  readonly box: Box | null;
}

/** Names one prompt set, or edit, of one object: its mask is looked up by it. */
export type Revision = number;

export interface Drawn {
  readonly id: number;
  readonly label: string;
  readonly color: string;
  readonly visible: boolean;
  /** Enter was pressed: it is done, for now. */
  readonly kept: boolean;
  readonly prompts: Prompts;
  readonly revision: Revision;
  /** Which candidate of the mask, best first. */
  readonly chosen: number;
}

/** What undo goes back to. */
export interface Scene {
  readonly objects: readonly Drawn[];
  readonly active: number | null;
  readonly nextId: number;
}

export interface History {
  readonly past: readonly Scene[];
  readonly present: Scene;
  readonly future: readonly Scene[];
}

export type PictureStatus =
  | { readonly kind: "closed" }
  | {
      readonly kind: "opening";
      readonly stage: string;
      readonly fraction: number | null;
      /** While it waits: how many pictures come first. */
      readonly ahead: number;
    }
  | { readonly kind: "open" }
  | { readonly kind: "failed"; readonly message: string };

export interface Picture {
  readonly key: string;
  readonly name: string;
  /** Known once it was shown or opened. */
  readonly size: Extent | null;
  readonly status: PictureStatus;
  readonly history: History;
}

export type Tool = "segment" | "brush" | "eraser" | "select" | "hand";
export type Look = "fill" | "outline";
/** By what masks are coloured. */
export type Colors = "object" | "class";
export type Sheet = "help" | "export" | null;

/** A point by its index, or a corner of the box. */
export type Mark = { readonly point: number } | { readonly corner: 0 | 1 | 2 | 3 };

export interface State {
  readonly pictures: readonly Picture[];
  readonly current: string | null;
  /** Class names ever used, newest last. */
  readonly classes: readonly string[];
  /** Those of them that came in a file. */
  readonly imported: readonly string[];
  /** Class names that went from the end of the list and left their place to none. */
  readonly dropped: readonly string[];
  readonly numbers: Numbers;
  readonly tool: Tool;
  readonly brushRadius: number;
  readonly opacity: number;
  readonly look: Look;
  readonly colors: Colors;
  readonly sheet: Sheet;
  readonly mark: Mark | null;
  readonly panelOpen: boolean;
}

export const NO_PROMPTS: Prompts = { points: [], box: null };
export const EMPTY_SCENE: Scene = { objects: [], active: null, nextId: 1 };
export const EMPTY_HISTORY: History = { past: [], present: EMPTY_SCENE, future: [] };

export const INITIAL: State = {
  pictures: [],
  current: null,
  classes: [],
  imported: [],
  dropped: [],
  numbers: new Map(),
  tool: "segment",
  brushRadius: 12,
  opacity: 0.45,
  look: "fill",
  colors: "object",
  sheet: null,
  mark: null,
  panelOpen: false,
};

/** Told apart by most eyes, on most photos. */
export const PALETTE = [
  "#3b82f6",
  "#f97316",
  "#22c55e",
  "#ec4899",
  "#eab308",
  "#8b5cf6",
  "#06b6d4",
  "#ef4444",
  "#84cc16",
  "#d946ef",
] as const;

export function colorOf(id: number): string {
  return PALETTE[(id - 1) % PALETTE.length]!;
}
