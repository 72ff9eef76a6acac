/** What can happen to the objects of one picture: scene in, scene out. */
import type { Box } from "../geometry/points.ts";
import {
  colorOf,
  type Drawn,
  NO_PROMPTS,
  type PromptPoint,
  type Prompts,
  type Revision,
  type Scene,
} from "./model.ts";

export function activeObject(scene: Scene): Drawn | null {
  return scene.objects.find(({ id }) => id === scene.active) ?? null;
}

export function changeObject(scene: Scene, id: number, change: Partial<Drawn>): Scene {
  const objects = scene.objects.map((one) => (one.id === id ? { ...one, ...change } : one));
  return { ...scene, objects };
}

/** The scene with a new, active object. */
export function addObject(scene: Scene, known: Partial<Drawn> = {}): Scene {
  const id = scene.nextId;
  const fresh: Drawn = {
    id,
    label: "",
    color: colorOf(id),
    visible: true,
    kept: false,
    prompts: NO_PROMPTS,
    revision: 0,
    chosen: 0,
    ...known,
  };
  const left = select(scene, id);
  return { ...left, objects: [...left.objects, fresh], nextId: id + 1 };
}

export function removeObject(scene: Scene, id: number): Scene {
  const objects = scene.objects.filter((one) => one.id !== id);
  return { ...scene, objects, active: scene.active === id ? null : scene.active };
}

/** Another object, or none, is the active one. The one that was is done, for now. */
export function select(scene: Scene, id: number | null): Scene {
  if (scene.active === id) return scene;
  const left = scene.active === null ? scene : changeObject(scene, scene.active, { kept: true });
  return { ...left, active: id };
}

/** Done with the active object: the next click begins another. */
export function keep(scene: Scene): Scene {
  return select(scene, null);
}

/** Other prompts for an object; a new revision, since its mask is another. */
export function prompt(scene: Scene, id: number, prompts: Prompts, revision: Revision): Scene {
  return changeObject(scene, id, { prompts, revision, chosen: 0, visible: true });
}

export function withPoint(prompts: Prompts, point: PromptPoint): Prompts {
  return { ...prompts, points: [...prompts.points, point] };
}

export function withBox(prompts: Prompts, box: Box | null): Prompts {
  return { ...prompts, box };
}

export function movedPoint(prompts: Prompts, index: number, x: number, y: number): Prompts {
  const points = prompts.points.map((point, at) =>
    at === index ? ([x, y, point[2]] as const) : point,
  );
  return { ...prompts, points };
}

export function withoutPoint(prompts: Prompts, index: number): Prompts {
  return { ...prompts, points: prompts.points.filter((_, at) => at !== index) };
}

/** Whether these prompts alone say what is meant. */
export function isPositive(prompts: Prompts): boolean {
  return prompts.box !== null || prompts.points.some(([, , label]) => label === 1);
}

/** Whether `prompts` are `earlier` and then some. */
export function extendsPrompts(prompts: Prompts, earlier: Prompts): boolean {
  const prefix = earlier.points.every((point, index) => point === prompts.points[index]);
  return prefix && prompts.box === earlier.box && prompts.points.length > earlier.points.length;
}
