import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  type Database,
  openDatabase,
  type StoredPicture,
  type StoredSettings,
  save,
} from "../../../src/app/persist/database.ts";
import { claimWorkspace } from "../../../src/app/persist/workspace.ts";

let database: Database;
/** What each tab remembers over a reload. */
let remembered: Map<string, string>;
/** Claims of tabs that are there, to be let go of with them. */
let channels: BroadcastChannel[];

beforeEach(async () => {
  database = await openDatabase(`test-${Math.random()}`);
  channels = [];
  openTab();
  vi.stubGlobal("navigator", {}); // as where the page was not served securely
  const Real = BroadcastChannel;
  vi.stubGlobal(
    "BroadcastChannel",
    class extends Real {
      constructor(name: string) {
        super(`${database.name} ${name}`);
        channels.push(this);
      }
    },
  );
});
afterEach(() => {
  closeTabs();
  database.close();
  vi.unstubAllGlobals();
});

function openTab(): void {
  remembered = new Map();
  vi.stubGlobal("sessionStorage", {
    getItem: (key: string) => remembered.get(key) ?? null,
    setItem: (key: string, value: string) => remembered.set(key, value),
  });
}

function closeTabs(): void {
  for (const channel of channels.splice(0)) channel.close();
}

function leave(workspace: string, names: string[], settings: Partial<StoredSettings> = {}) {
  const pictures = names.map((name, order) => ({
    ...{ key: `${workspace}/${name}`, workspace, order, name, size: null },
    ...{ objects: [], active: null, nextId: 1 },
  }));
  const kept = { current: null, classes: [], imported: [], numbers: new Map<string, number>() };
  const look = { brushRadius: 12, opacity: 0.45, look: "fill" as const };
  return save(database, {
    settings: { workspace, ...kept, ...look, ...settings },
    pictures: pictures as StoredPicture[],
    gone: [],
  });
}

const inOrder = async (workspace: string) => {
  const found = await database.getAllFromIndex("pictures", "workspace", workspace);
  return found.sort((a, b) => a.order - b.order).map(({ name }) => name);
};

describe("without locks", () => {
  test("two tabs have a workspace each, opened at once or not, and a reload finds it again", async () => {
    const first = [claimWorkspace(database), claimWorkspace(database)];
    expect((await Promise.all(first)).sort()).toEqual(["1", "2"]);
    openTab();
    expect(await claimWorkspace(database)).toBe("3");
    closeTabs();
    expect(await claimWorkspace(database)).toBe("3");
  });
});

test("a page that gets no locks hears of it, rather than nothing for ever", async () => {
  const request = () => Promise.reject(new DOMException("", "SecurityError"));
  vi.stubGlobal("navigator", { locks: { request } });
  await expect(claimWorkspace(database)).rejects.toThrow(DOMException);
});

describe("what a tab that is gone left behind", () => {
  test("is the next one's, after its own, under names and numbers that are free", async () => {
    const cat = { classes: ["cat"], numbers: new Map([["cat", 1]]) };
    const dog = { classes: ["dog"], numbers: new Map(Object.entries({ dog: 1, ox: 7 })) };
    await leave("1", ["a.png", "b.png"], { current: "1/b.png", ...cat });
    await leave("2", ["b.png", "c.png"], { current: "2/c.png", ...dog });
    expect(await claimWorkspace(database)).toBe("1");
    expect(await inOrder("1")).toEqual(["a.png", "b.png", "b-2.png", "c.png"]);
    expect(await database.getAll("settings")).toMatchObject([
      {
        ...{ workspace: "1", current: "1/b.png", classes: ["cat", "dog"] },
        numbers: new Map(Object.entries({ cat: 1, ox: 7 })),
      },
    ]);
  });

  test("is taken from pages of before, too, which kept less", async () => {
    await leave("1", ["a.png"], { classes: ["cat"] });
    await leave("2", ["b.png"]);
    const { imported: _, numbers: __, ...settings } = (await database.get("settings", "2"))!;
    await database.put("settings", { ...settings, classes: ["dog"] } as StoredSettings);
    expect(await claimWorkspace(database)).toBe("1");
    expect(await inOrder("1")).toEqual(["a.png", "b.png"]);
    expect((await database.get("settings", "1"))!.classes).toEqual(["cat", "dog"]);
  });

  test("stays whole where it is, and costs no other its place, if it cannot be read", async () => {
    await leave("1", ["a.png"]);
    await leave("2", ["b.png"], { classes: null as unknown as string[] });
    await leave("3", ["c.png"]);
    expect(await claimWorkspace(database)).toBe("1");
    expect([await inOrder("1"), await inOrder("2")]).toEqual([["a.png", "c.png"], ["b.png"]]);
  });

  test("is not taken from a tab that is there, nor by one that is only loaded again", async () => {
    expect(await claimWorkspace(database)).toBe("1");
    await leave("1", ["a.png"]);
    openTab();
    expect(await claimWorkspace(database)).toBe("2");
    await leave("2", ["b.png"]);
    closeTabs();
    expect(await claimWorkspace(database)).toBe("2");
    expect([await inOrder("1"), await inOrder("2")]).toEqual([["a.png"], ["b.png"]]);
  });
});
