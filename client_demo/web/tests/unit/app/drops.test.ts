import { expect, test } from "vitest";
import { droppedFiles } from "../../../src/app/work/drops.ts";

const file = (name: string, type = "image/png") => new File(["x"], name, { type });

function fileEntry(one: File): FileSystemEntry {
  const entry = { isDirectory: false, name: one.name };
  return { ...entry, file: (found: (file: File) => void) => found(one) } as never;
}

/** A folder whose reader gives one entry at a time, last first. */
function folder(name: string, ...entries: FileSystemEntry[]): FileSystemEntry {
  const createReader = () => {
    const left = [...entries];
    return { readEntries: (found: (some: FileSystemEntry[]) => void) => found(left.splice(-1)) };
  };
  return { isDirectory: true, name, createReader } as never;
}

function item(entry: FileSystemEntry | null, plain: File | null = null): DataTransferItem {
  return { kind: "file", webkitGetAsEntry: () => entry, getAsFile: () => plain } as never;
}

test("a folder is its pictures, in the order of their names, folders in it included", async () => {
  const inner = folder("2", fileEntry(file("c.png")), fileEntry(file("notes", "text/plain")));
  const outer = folder("day", fileEntry(file("10.png")), fileEntry(file("9.png")), inner);
  const files = await droppedFiles([item(outer, file("day", ""))]);
  expect(files.map(({ name }) => name)).toEqual(["c.png", "9.png", "10.png"]);
});

test("files are themselves, whatever they hold; words are none", async () => {
  const [coco, pasted] = [file("a.json", "application/json"), file("b.png")];
  const words = { kind: "string" } as DataTransferItem;
  expect(await droppedFiles([item(fileEntry(coco), coco), words, item(null, pasted)])).toEqual([
    coco,
    pasted,
  ]);
});

test("a folder that cannot be read says so", async () => {
  const closed = {
    isDirectory: true,
    createReader: () => ({
      readEntries: (_: unknown, fail: (error: Error) => void) => fail(Error()),
    }),
  };
  await expect(droppedFiles([item(closed as never)])).rejects.toThrow();
});
