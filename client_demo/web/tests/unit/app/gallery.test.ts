import { beforeEach, expect, test } from "vitest";
import { currentPicture } from "../../../src/app/state/pictures.ts";
import { Context } from "../../../src/app/work/context.ts";
import { Gallery } from "../../../src/app/work/gallery.ts";
import { Latency } from "../../../src/app/work/latency.ts";
import { Notices } from "../../../src/app/work/notices.ts";
import { Segmenter } from "../../../src/app/work/segmenter.ts";
import {
  type MaskWorker,
  type OnProgress,
  type Opened,
  SamwireError,
} from "../../../src/client/index.ts";

const OPENED = { width: 4, height: 3 } as Opened;

let context: Context;
let gallery: Gallery;
/** The opens so far, with what ends them. */
let opens: {
  progress: OnProgress;
  resolve: (opened: Opened) => void;
  reject: (e: Error) => void;
}[];

beforeEach(() => {
  opens = [];
  const open = (_: Blob, progress: OnProgress) =>
    new Promise((resolve, reject) => opens.push({ progress, resolve, reject }));
  const client = { open, cancelHover: () => {}, prefetch: async () => {}, welcome: null } as never;
  context = new Context(client, {} as MaskWorker, new Notices(), new Latency());
  gallery = new Gallery(context, new Segmenter(context));
  gallery.add(["a.png", "b.png"].map((name) => ({ blob: new Blob([name]), name })));
});

const statuses = () => context.state.get().pictures.map(({ status }) => status.kind);

test("a picture whose file is gone says which it is", async () => {
  opens[0]!.reject(new SamwireError("unreadable", ""));
  await expect.poll(() => statuses()[0]).toBe("failed");
  expect(currentPicture(context.state.get())!.status).toEqual({
    kind: "failed",
    message: "a.png could not be read. Choose it again.",
  });
});

test("a picture opened again says how far it is, and when it is back", async () => {
  opens[0]!.resolve(OPENED);
  await expect.poll(() => statuses()[0]).toBe("open");
  opens[0]!.progress({ stage: "upload", fraction: 0.5 });
  expect(statuses()[0]).toBe("opening");
  gallery.back(OPENED);
  expect(statuses()[0]).toBe("open");
});

test("a picture left while it is opened again is closed", async () => {
  opens[0]!.resolve(OPENED);
  await expect.poll(() => statuses()[0]).toBe("open");
  opens[0]!.progress({ stage: "upload", fraction: 0.5 });
  gallery.step(1);
  expect(statuses()).toEqual(["closed", "opening"]);
});

test("an empty file is no picture, which takes no server to say", async () => {
  gallery.add([{ blob: new Blob([]), name: "empty.png" }]);
  await expect.poll(() => statuses()[2]).toBe("failed");
  expect(currentPicture(context.state.get())!.status).toMatchObject({
    message: expect.stringMatching(/could not be read as a picture/),
  });
  expect(opens).toHaveLength(1);
});
