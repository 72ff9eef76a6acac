import { describe, expect, test } from "vitest";
import type { MaskReply } from "../../../src/client/messages.ts";
import { CHUNK_BYTES } from "../../../src/client/opening.ts";
import { click, picture, reply, useWorld } from "../../support/scripted-client.ts";
import { NodeWebSocket } from "../../support/scripted-server.ts";

const world = useWorld();

/** A file that was moved away after it was chosen. */
const gone = Object.assign(new Blob(["x"]), {
  arrayBuffer: () => Promise.reject(new DOMException("", "NotFoundError")),
});

describe("opening", () => {
  test("says hello first, then the digest, and sends bytes only when told to", async () => {
    world.start({ client: "test" });
    const peer = await world.server.peer();
    const stages: string[] = [];
    const opening = world.client.open(picture, ({ stage }) => stages.push(stage));
    const open = await peer.next("open");
    expect(peer.received.map(({ type }) => type)).toEqual(["hello", "open"]);
    expect(open.sha256).toMatch(/^[0-9a-f]{64}$/);
    peer.send({ type: "send", id: open.id });
    expect((await peer.next("data", 0)).bytes).toHaveLength(CHUNK_BYTES);
    expect((await peer.next("data", 1)).bytes).toHaveLength(10);
    peer.send({ type: "progress", id: open.id, stage: "encode", fraction: 0.5 });
    peer.opened(open.id);
    expect(await opening).toMatchObject({ width: 4, height: 3 });
    expect(stages).toEqual(["upload", "upload", "encode"]);
  });

  test("a newer open rejects the one it overtakes", async () => {
    world.start();
    const first = world.client.open(picture);
    await world.server.peer();
    await new Promise((resolve) => setTimeout(resolve, 0));
    const overtaken = expect(first).rejects.toMatchObject({ code: "superseded" });
    world.client.open(new Blob(["other"])).catch(() => {});
    await overtaken;
  });

  test("a refused image rejects with the server's code", async () => {
    world.start();
    const peer = await world.server.peer();
    const opening = world.client.open(picture);
    const { id } = await peer.next("open");
    peer.send({ type: "error", id, code: "bad_image", message: "No.", fault: "client" });
    await expect(opening).rejects.toMatchObject({ code: "bad_image", message: "No." });
  });

  test("a file that cannot be read is told as such", async () => {
    world.start();
    await expect(world.client.open(gone)).rejects.toMatchObject({ code: "unreadable" });
  });

  test("a file that goes away while it is sent ends the open, here and there", async () => {
    world.start();
    const peer = await world.server.peer();
    const vanishing = new Blob(["x"]);
    const opening = world.client.open(vanishing);
    const { id } = await peer.next("open");
    vanishing.slice = () => gone;
    peer.send({ type: "send", id });
    await expect(opening).rejects.toMatchObject({ code: "unreadable" });
    expect(await peer.next("cancel")).toEqual({ type: "cancel", target: id });
  });

  test("a click passes a prefetch that a slow link holds up", async () => {
    let held = 0;
    let looks = 0;
    class SlowSocket extends NodeWebSocket {
      override get bufferedAmount() {
        looks += 1;
        return held;
      }
    }
    world.start({ WebSocket: SlowSocket });
    const peer = await world.server.peer();
    const opening = world.client.open(picture);
    peer.opened((await peer.next("open")).id);
    await opening;
    world.client.prefetch(picture).catch(() => {});
    const { id } = await peer.next("open", 1);
    [held, looks] = [CHUNK_BYTES + 1, 0];
    peer.send({ type: "send", id });
    await expect.poll(() => looks).toBeGreaterThan(3);
    world.client.segment(click).catch(() => {});
    await peer.next("segment");
    expect(peer.received.filter(({ type }) => type === "data")).toHaveLength(0);
    held = 0;
    expect((await peer.next("data", 1)).bytes).toHaveLength(10);
  });

  test("a prefetch is an open of its own, and done is its end", async () => {
    const peer = await world.withImage();
    const prefetching = world.client.prefetch(new Blob(["next"]));
    const open = await peer.next("open", 1);
    expect(open.prefetch).toBe(true);
    peer.send({ type: "done", id: open.id });
    await prefetching;
  });
});

describe("segmenting", () => {
  test("answers by id whatever the order, and ids grow", async () => {
    const peer = await world.withImage();
    const [first, second] = [
      world.client.segment(click),
      world.client.segment({ ...click, object: 2 }),
    ];
    const requests = [await peer.next("segment", 0), await peer.next("segment", 1)];
    expect(requests[1]!.id).toBeGreaterThan(requests[0]!.id);
    reply(peer, requests[1]!);
    reply(peer, requests[0]!);
    expect(await first).toMatchObject({ id: requests[0]!.id, object: 1 });
    expect(await second).toMatchObject({ id: requests[1]!.id, object: 2 });
  });

  test("an error names its code and field", async () => {
    const peer = await world.withImage();
    const asked = world.client.segment({ object: 1 });
    const { id } = await peer.next("segment");
    const error = { code: "no_positive_prompt", message: "Add one.", field: "points" };
    peer.send({ type: "error", id, fault: "client", ...error });
    await expect(asked).rejects.toMatchObject({ code: error.code, details: { field: "points" } });
  });

  test("an aborted request sends cancel and counts as superseded", async () => {
    const peer = await world.withImage();
    const abort = new AbortController();
    const asked = world.client.segment({ ...click, signal: abort.signal });
    const { id } = await peer.next("segment");
    abort.abort();
    expect(await asked).toEqual({ type: "superseded", id });
    expect(await peer.next("cancel")).toEqual({ type: "cancel", target: id });
  });

  test("an absent prior stays absent and null goes out as nil", async () => {
    const peer = await world.withImage();
    world.client.segment(click).catch(() => {});
    world.client.segment({ ...click, object: 2, prior: null }).catch(() => {});
    expect(await peer.next("segment", 0)).not.toHaveProperty("prior");
    expect(await peer.next("segment", 1)).toHaveProperty("prior", null);
  });

  test.each([
    ["as a mask instead", undefined],
    ["not at all when its mask is too long", 2],
  ])("a prior the server no longer has is sent %s", async (_, limit) => {
    const peer = await world.withImage(limit === undefined ? {} : { max_prior_bytes: limit });
    const asked = world.client.segment(click);
    reply(peer, await peer.next("segment"));
    const mask = await asked;
    if (mask.type !== "mask") throw new Error("expected a mask");
    const refined = world.client.segment({ ...click, prior: { mask, candidate: 0 } });
    const { id, prior } = await peer.next("segment", 1);
    expect(prior).toEqual([mask.id, 0]);
    peer.send({ type: "error", id, code: "prior_gone", message: "Gone.", fault: "client" });
    const retry = await peer.next("segment", 2);
    expect(retry.prior).toEqual(limit === undefined ? mask.rle : null);
    reply(peer, retry);
    expect(await refined).toMatchObject({ id: retry.id });
  });
});

test("what is asked right after an open is about its image", async () => {
  const peer = await world.withImage();
  const opening = world.client.open(new Blob(["another"]));
  const asked = world.client.segment(click);
  const open = await peer.next("open", 1);
  const segment = await peer.next("segment");
  expect(segment.id).toBeGreaterThan(open.id);
  peer.opened(open.id);
  reply(peer, segment);
  await opening;
  expect(await asked).toMatchObject({ id: segment.id });
});

test("a mask that waited for its image to open tells no time of its own", async () => {
  const timed: number[] = [];
  world.start({ onTiming: (_kind, _ms, { id }) => timed.push(id) });
  const peer = await world.server.peer();
  const opening = world.client.open(picture);
  const early = world.client.segment(click);
  const { id } = await peer.next("open");
  const asked = await peer.next("segment");
  peer.opened(id);
  reply(peer, asked);
  await Promise.all([opening, early]);
  const late = world.client.segment(click);
  reply(peer, await peer.next("segment", 1));
  await late;
  expect(timed).toEqual([asked.id + 1]);
});

describe("a picture that was left", () => {
  test("answers no click that still waits for the connection", async () => {
    world.start();
    const first = world.client.open(picture);
    first.catch(() => {});
    const asked = world.client.segment(click);
    const second = world.client.open(new Blob(["another"]));
    const peer = await world.server.peer();
    peer.opened((await peer.next("open")).id);
    await second;
    expect(await asked).toMatchObject({ type: "superseded" });
    const next = world.client.segment({ ...click, object: 2 });
    const segment = await peer.next("segment");
    expect(segment.object).toBe(2);
    reply(peer, segment);
    await next;
  });

  test("and a click that was given up while it waited ask nothing", async () => {
    world.start();
    const opening = world.client.open(picture);
    const abort = new AbortController();
    const asked = world.client.segment({ ...click, signal: abort.signal });
    abort.abort();
    const peer = await world.server.peer();
    peer.opened((await peer.next("open")).id);
    await opening;
    expect(await asked).toMatchObject({ type: "superseded" });
    expect(peer.received.filter(({ type }) => type === "segment")).toHaveLength(0);
  });

  test("asks nothing again when a prior of it is gone", async () => {
    const peer = await world.withImage();
    const asked = world.client.segment(click);
    reply(peer, await peer.next("segment"));
    const mask = (await asked) as MaskReply;
    const refined = world.client.segment({ ...click, prior: { mask } });
    const { id } = await peer.next("segment", 1);
    const opening = world.client.open(new Blob(["another"]));
    peer.send({ type: "error", id, code: "prior_gone", message: "Gone.", fault: "client" });
    expect(await refined).toMatchObject({ type: "superseded" });
    peer.opened((await peer.next("open", 1)).id);
    await opening;
    expect(peer.received.filter(({ type }) => type === "segment")).toHaveLength(2);
  });

  test("lends no mask to the next one when its answer crosses the open", async () => {
    const peer = await world.withImage();
    const asked = world.client.segment(click);
    const request = await peer.next("segment");
    const opening = world.client.open(new Blob(["another"]));
    peer.opened((await peer.next("open", 1)).id);
    reply(peer, request);
    await opening;
    expect(await asked).toMatchObject({ type: "mask" });
    world.client.segment({ ...click, points: [...click.points, [2, 2, 0]] }).catch(() => {});
    expect(await peer.next("segment", 1)).not.toHaveProperty("prior");
  });

  test("shows no preview of it", async () => {
    const peer = await world.withImage();
    const hovering = world.client.hover(click);
    const request = await peer.next("segment");
    world.client.open(new Blob(["another"])).catch(() => {});
    reply(peer, request);
    expect(await hovering).toBeNull();
  });
});

describe("hovering", () => {
  test("keeps one in flight and one pending: the newest", async () => {
    const peer = await world.withImage();
    const at = (x: number) => world.client.hover({ object: 1, points: [[x, 1, 1]] });
    const hovers = [at(0), at(1), at(2)];
    const first = await peer.next("segment", 0);
    expect(await hovers[1]).toBeNull();
    expect(peer.received.filter(({ type }) => type === "segment")).toHaveLength(1);
    reply(peer, first);
    expect(await hovers[0]).toMatchObject({ id: first.id });
    const last = await peer.next("segment", 1);
    expect(last.points).toEqual([[2, 1, 1]]);
    reply(peer, last);
    expect(await hovers[2]).toMatchObject({ id: last.id });
  });

  test("a failed hover lets the pending one go on", async () => {
    const peer = await world.withImage();
    const first = world.client.hover({ points: [[0, 0, 1]] });
    const second = world.client.hover({ points: [[1, 0, 1]] });
    const { id } = await peer.next("segment", 0);
    const failed = expect(first).rejects.toMatchObject({ code: "overload" });
    peer.send({ type: "error", id, code: "overload", message: "Later.", fault: "overload" });
    await failed;
    reply(peer, await peer.next("segment", 1));
    expect(await second).not.toBeNull();
  });
});

test("release and close are told to the server", async () => {
  const peer = await world.withImage();
  world.client.release(1);
  expect(await peer.next("release")).toEqual({ type: "release", object: 1 });
  const closing = world.client.close();
  peer.send({ type: "done", id: (await peer.next("close")).id });
  await closing;
});
