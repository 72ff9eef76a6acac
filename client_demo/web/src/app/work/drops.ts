/** What was dropped: files, and the pictures in folders. A folder itself reads as no file. */

/** To be called in the drop event itself: the browser forgets what was dropped right after it. */
export async function droppedFiles(items: Iterable<DataTransferItem>): Promise<File[]> {
  const found = [...items].filter(({ kind }) => kind === "file").map(filesIn);
  return (await Promise.all(found)).flat();
}

async function filesIn(item: DataTransferItem): Promise<File[]> {
  const entry = item.webkitGetAsEntry?.();
  if (entry && isFolder(entry)) return picturesIn(entry);
  const file = item.getAsFile();
  return file ? [file] : [];
}

/** In the order of their names, as people count. */
async function picturesIn(folder: FileSystemDirectoryEntry): Promise<File[]> {
  const entries = await entriesOf(folder);
  entries.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const files = await Promise.all(
    entries.map((entry) => (isFolder(entry) ? picturesIn(entry) : fileOf(entry))),
  );
  return files.flat().filter(({ type }) => type.startsWith("image/"));
}

/** A reader gives some at a time, and none when it is through. */
async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return all;
    all.push(...some);
  }
}

function fileOf(entry: FileSystemEntry): Promise<File[]> {
  return new Promise((resolve, reject) =>
    (entry as FileSystemFileEntry).file((file) => resolve([file]), reject),
  );
}

function isFolder(entry: FileSystemEntry): entry is FileSystemDirectoryEntry {
  return entry.isDirectory;
}
