/** Undo and redo over scenes. */
import type { History, Scene } from "./model.ts";

const MAX_STEPS = 200;

/** A step of its own: what was undone is gone. */
export function commit(history: History, scene: Scene): History {
  const past = [...history.past, history.present].slice(-MAX_STEPS);
  return { past, present: scene, future: [] };
}

/** No step: a change that undo need not stop at. */
export function amend(history: History, scene: Scene): History {
  return { ...history, present: scene };
}

export function undo(history: History): History {
  const previous = history.past.at(-1);
  if (!previous) return history;
  return {
    past: history.past.slice(0, -1),
    present: previous,
    future: [history.present, ...history.future],
  };
}

export function redo(history: History): History {
  const [next, ...future] = history.future;
  if (!next) return history;
  return { past: [...history.past, history.present], present: next, future };
}
