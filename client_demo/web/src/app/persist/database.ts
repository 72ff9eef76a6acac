/** The browser's own store: pictures with their objects, and what the user prefers. */
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import { bytesOf, type Rle } from "../../client/index.ts";
import type { Extent } from "../geometry/points.ts";
import type { Drawn, State } from "../state/model.ts";
import { renamed } from "../state/names.ts";
import { joined } from "../state/vocabulary.ts";

/** A shape without what can be computed from it again. */
export interface StoredShape {
  readonly rle: Rle;
  readonly score: number | null;
}

export type StoredObject = Omit<Drawn, "revision"> & { readonly shapes: readonly StoredShape[] };

export interface StoredPicture {
  readonly key: string;
  readonly workspace: string;
  /** Place in the strip. */
  readonly order: number;
  readonly name: string;
  readonly size: Extent | null;
  readonly objects: readonly StoredObject[];
  readonly active: number | null;
  readonly nextId: number;
}

export type StoredSettings = Pick<
  State,
  "current" | "classes" | "brushRadius" | "opacity" | "look"
> &
  // Pages of before stored none of these.
  Partial<Pick<State, "imported" | "numbers" | "colors">> & { readonly workspace: string };

interface Schema extends DBSchema {
  blobs: { key: string; value: { key: string; bytes: ArrayBuffer; type: string } };
  pictures: { key: string; value: StoredPicture; indexes: { workspace: string } };
  settings: { key: string; value: StoredSettings };
}

export type Database = IDBPDatabase<Schema>;

const VERSION = 1;

export function openDatabase(name = "samwire"): Promise<Database> {
  return openDB<Schema>(name, VERSION, {
    upgrade(database) {
      database.createObjectStore("blobs", { keyPath: "key" });
      const pictures = database.createObjectStore("pictures", { keyPath: "key" });
      pictures.createIndex("workspace", "workspace");
      database.createObjectStore("settings", { keyPath: "workspace" });
    },
  });
}

export interface Loaded {
  readonly pictures: readonly { picture: StoredPicture; blob: Blob }[];
  readonly settings: StoredSettings | null;
}

export async function load(database: Database, workspace: string): Promise<Loaded> {
  const stored = await database.getAllFromIndex("pictures", "workspace", workspace);
  const pictures: { picture: StoredPicture; blob: Blob }[] = [];
  for (const picture of stored.sort((a, b) => a.order - b.order)) {
    const found = await database.get("blobs", picture.key);
    if (found) pictures.push({ picture, blob: new Blob([found.bytes], { type: found.type }) });
  }
  return { pictures, settings: (await database.get("settings", workspace)) ?? null };
}

/** The pictures of one workspace to the end of another, in one go; what they are called with them. */
export async function moveWorkspace(database: Database, from: string, to: string): Promise<void> {
  const transaction = database.transaction(["settings", "pictures"], "readwrite");
  const [settings, pictures] = [
    transaction.objectStore("settings"),
    transaction.objectStore("pictures"),
  ];
  const ofWorkspace = pictures.index("workspace");
  const [theirs, mine] = [await settings.get(from), await settings.get(to)];
  const [moved, here] = [await ofWorkspace.getAll(from), await ofWorkspace.getAll(to)];
  const names = here.map(({ name }) => name);
  const next = Math.max(-1, ...here.map(({ order }) => order)) + 1;
  const added = renamed(moved, names).map((picture) => {
    return { ...picture, workspace: to, order: next + picture.order };
  });
  const kept = theirs ? [{ ...together(mine, theirs), workspace: to }] : [];
  // Nothing is written before all of it is known: what cannot be read stays whole where it is.
  await Promise.all([
    ...added.map((picture) => pictures.put(picture)),
    ...kept.map((one) => settings.put(one)),
    settings.delete(from),
    transaction.done,
  ]);
}

/** Whatever only one of them can have is the first one's. */
function together(mine: StoredSettings | undefined, theirs: StoredSettings): StoredSettings {
  if (!mine) return theirs;
  return { ...mine, ...joined(mine, theirs), current: mine.current ?? theirs.current };
}

export interface Changes {
  readonly settings: StoredSettings;
  readonly pictures: readonly StoredPicture[];
  /** Keys of pictures that are no more. */
  readonly gone: readonly string[];
}

/** In one go, asked for before this returns: nothing of it waits for anything else of it. */
export async function save(database: Database, changes: Changes): Promise<void> {
  const transaction = database.transaction(["settings", "pictures", "blobs"], "readwrite");
  const pictures = transaction.objectStore("pictures");
  const blobs = transaction.objectStore("blobs");
  const asked = [
    transaction.objectStore("settings").put(changes.settings),
    ...changes.pictures.map((picture) => pictures.put(picture)),
    ...changes.gone.flatMap((key) => [pictures.delete(key), blobs.delete(key)]),
  ];
  transaction.commit(); // else a page that is left takes it along, for it would wait for the page
  await Promise.all([...asked, transaction.done]);
}

/** Bytes rather than the Blob itself: a File on a disk may be gone by tomorrow. */
export async function saveBlob(database: Database, key: string, blob: Blob): Promise<void> {
  await database.put("blobs", { key, bytes: await bytesOf(blob), type: blob.type });
}
