/** Changes to the list of pictures and to the one on the stage: state in, state out. */
import { amend, commit } from "./history.ts";
import {
  EMPTY_HISTORY,
  EMPTY_SCENE,
  type History,
  type Picture,
  type Scene,
  type State,
} from "./model.ts";
import { renamed } from "./names.ts";

export function currentPicture(state: State): Picture | null {
  return state.pictures.find(({ key }) => key === state.current) ?? null;
}

export function currentScene(state: State): Scene {
  return currentPicture(state)?.history.present ?? EMPTY_SCENE;
}

export function changePicture(state: State, key: string, change: Partial<Picture>): State {
  const pictures = state.pictures.map((one) => (one.key === key ? { ...one, ...change } : one));
  return { ...state, pictures };
}

/** A picture more, under a name of its own: what is exported and imported goes by it. */
export function addPicture(state: State, key: string, name: string): State {
  const status = { kind: "closed" } as const;
  const fresh: Picture = { key, name, size: null, status, history: EMPTY_HISTORY };
  return { ...state, pictures: withPictures(state.pictures, [fresh]) };
}

/** More of them at the end, under names that are free. */
export function withPictures(pictures: readonly Picture[], added: readonly Picture[]): Picture[] {
  const names = pictures.map(({ name }) => name);
  return [...pictures, ...renamed(added, names)];
}

/** Without a picture; its neighbour takes the stage if it was there. */
export function removePicture(state: State, key: string): State {
  const index = state.pictures.findIndex((one) => one.key === key);
  const pictures = state.pictures.filter((one) => one.key !== key);
  const neighbour = pictures[Math.min(index, pictures.length - 1)]?.key ?? null;
  if (state.current !== key) return { ...state, pictures };
  return { ...state, pictures, current: neighbour, mark: null };
}

export type Step = "commit" | "amend";

/** The current picture's scene, changed as a step of its own or not. */
export function changeScene(state: State, step: Step, change: (scene: Scene) => Scene): State {
  const picture = currentPicture(state);
  if (!picture) return state;
  const scene = change(picture.history.present);
  if (scene === picture.history.present) return state;
  const record = step === "commit" ? commit : amend;
  const changed = changePicture(state, picture.key, { history: record(picture.history, scene) });
  // A mark is a point or corner of the active object; on another it would be a different one.
  return scene.active === picture.history.present.active ? changed : { ...changed, mark: null };
}

/** A class name joins the list, at its end when it is new. */
export function learnClass(state: State, label: string): State {
  const known = !label || state.classes.includes(label);
  return known ? state : { ...state, classes: [...state.classes, label] };
}

/** Classes that came in a file: their numbers mean something elsewhere. */
export function importClasses(state: State, labels: readonly string[]): State {
  const learnt = labels.reduce(learnClass, state);
  return { ...learnt, imported: [...new Set([...state.imported, ...labels])] };
}

/** Another name was typed over an object's: one that nothing bears any more was a slip of the pen. */
export function renameClass(state: State, from: string, to: string): State {
  const at = state.classes.indexOf(from);
  if (!to || at < 0 || state.imported.includes(from) || isBorne(state, from)) {
    return learnClass(state, to);
  }
  if (!state.classes.includes(to)) {
    return { ...state, classes: state.classes.map((one) => (one === from ? to : one)) };
  }
  // Every class keeps its number, so only the last one can go.
  if (at < state.classes.length - 1) return state;
  const dropped = [...new Set([...state.dropped, from])];
  return { ...state, classes: state.classes.slice(0, -1), dropped };
}

/** A step back or forth of the current picture; names that come back have their places again. */
export function travel(state: State, direction: (history: History) => History): State {
  const picture = currentPicture(state);
  if (!picture) return state;
  const history = direction(picture.history);
  const before = new Map(picture.history.present.objects.map(({ id, label }) => [id, label]));
  return history.present.objects
    .filter(({ id, label }) => before.get(id) !== label)
    .reduce<State>((now, { id, label }) => regainClass(now, before.get(id) ?? "", label), {
      ...changePicture(state, picture.key, { history }),
      mark: null,
    });
}

/** What left its place to none takes none when it comes back, and goes again when that is redone. */
function regainClass(state: State, from: string, to: string): State {
  if (state.classes.includes(to)) {
    return state.dropped.includes(from) ? renameClass(state, from, to) : state;
  }
  return state.dropped.includes(to) ? learnClass(state, to) : renameClass(state, from, to);
}

function isBorne({ pictures }: State, label: string): boolean {
  return pictures.some(({ history }) => history.present.objects.some((one) => one.label === label));
}
