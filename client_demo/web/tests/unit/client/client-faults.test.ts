/** Callbacks that raise, and servers that answer nonsense: nothing hangs, and all else goes on. */
import { encode } from "@msgpack/msgpack";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { MaskBody, Segment, ServerMessage } from "../../../src/client/messages.ts";
import { click, picture, reply, useWorld } from "../../support/scripted-client.ts";
import { maskReply, openedReply } from "../../support/scripted-server.ts";

const world = useWorld();

describe("a frame that is no message", () => {
  test.each([
    ["bytes of no kind", () => Uint8Array.of(0xc1)],
    ["text", () => "mask"],
    ["a mask without its fields", (id: number) => encode({ type: "mask", id })],
  ])("ends the connection, and another one is made: %s", async (_, frame) => {
    const peer = await world.withImage();
    const closed = new Promise((resolve) => peer.socket.once("close", resolve));
    const lost = world.client.segment(click);
    const rejected = expect(lost).rejects.toMatchObject({ code: "connection_lost" });
    peer.socket.send(frame((await peer.next("segment")).id));
    await rejected;
    expect(await closed).toBe(4002);
    const again = await world.server.peer();
    again.opened((await again.next("open")).id);
    const asked = world.client.segment(click);
    reply(again, await again.next("segment"));
    expect(await asked).toMatchObject({ type: "mask" });
  });

  test("is waited for longer each time, whoever says welcome in between, and is the reason", async () => {
    const waits: [number, string | undefined][] = [];
    world.start({
      onState: (state) =>
        state.status === "waiting" && waits.push([state.attempt, state.reason?.code]),
    });
    for (let turn = 0; turn < 3; turn++) {
      const peer = await world.server.peer();
      await expect.poll(() => world.client.state.status).toBe("online");
      peer.socket.send("nonsense");
      await expect.poll(() => waits.length).toBe(turn + 1);
    }
    expect(waits.map(([attempt]) => attempt)).toEqual([1, 2, 3]);
    expect(new Set(waits.map(([, code]) => code))).toEqual(new Set(["bad_frame"]));
    for (const attempt of [4, 1]) {
      const peer = await world.server.peer();
      await expect.poll(() => world.client.state.status).toBe("online");
      peer.socket.close(1012);
      await expect.poll(() => waits.at(-1)).toEqual([attempt, "restarting"]);
    }
  });
});

describe("a callback that raises", () => {
  const theirs = new Error("theirs");
  const raise = () => {
    throw theirs;
  };
  const reported = vi.spyOn(console, "error");
  beforeEach(() => {
    reported.mockReset().mockImplementation(() => {});
  });
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  test("onProgress: ends its open, here and on the server, and nothing else", async () => {
    world.start();
    const peer = await world.server.peer();
    const opening = world.client.open(picture, raise);
    const rejected = expect(opening).rejects.toBe(theirs);
    const { id } = await peer.next("open");
    const prefetching = world.client.prefetch(new Blob(["next"]));
    const prefetch = await peer.next("open", 1);
    peer.send({ type: "progress", id, stage: "encode", fraction: 0.5 });
    await rejected;
    expect(await peer.next("cancel")).toEqual({ type: "cancel", target: id });
    peer.send({ type: "progress", id, stage: "encode", fraction: 0.75 });
    peer.send({ type: "superseded", id });
    peer.send({ type: "done", id: prefetch.id });
    await prefetching;
    const next = world.client.open(picture);
    peer.opened((await peer.next("open", 2)).id);
    await next;
    expect(peer.received.filter(({ type }) => type === "cancel")).toHaveLength(1);
    expect(world.states).toEqual(["connecting", "online"]);
    expect(reported).not.toHaveBeenCalled();
  });

  test("onProgress: while bytes are sent, it ends the upload", async () => {
    world.start();
    const peer = await world.server.peer();
    const opening = world.client.open(picture, raise);
    const rejected = expect(opening).rejects.toBe(theirs);
    const { id } = await peer.next("open");
    peer.send({ type: "send", id });
    await rejected;
    await peer.next("cancel");
    expect(peer.received.filter(({ type }) => type === "data")).toHaveLength(1);
  });

  test("an image whose open failed is not opened again on the next connection", async () => {
    world.start();
    const peer = await world.server.peer();
    const opening = world.client.open(picture, raise);
    peer.send({ type: "progress", id: (await peer.next("open")).id, stage: "encode", fraction: 1 });
    await expect(opening).rejects.toBe(theirs);
    peer.socket.close(1012);
    const again = await world.server.peer();
    await expect.poll(() => world.client.state.status).toBe("online");
    world.client.release(1);
    await again.next("release");
    expect(again.received.map(({ type }) => type)).toEqual(["hello", "release"]);
  });

  test.each([
    ["onProgress raises", { code: "not_open", message: expect.stringContaining("theirs") }],
    ["the server refuses", { code: "bad_image" }],
  ])("an image that was open is lost when it is opened again and %s", async (how, error) => {
    const losses: unknown[] = [];
    world.start({ onImageLost: (lost) => losses.push(lost) });
    const peer = await world.server.peer();
    const opening = world.client.open(picture, raise);
    peer.opened((await peer.next("open")).id);
    await opening;
    peer.socket.close(1012);
    const again = await world.server.peer();
    const { id } = await again.next("open");
    if (how === "onProgress raises") {
      again.send({ type: "progress", id, stage: "encode", fraction: 1 });
      await again.next("cancel");
    } else {
      again.send({ type: "error", id, code: "bad_image", message: "No.", fault: "client" });
    }
    await expect.poll(() => losses).toEqual([expect.objectContaining(error)]);
  });

  test("any other: breaks nothing, and is told each time it does", async () => {
    world.start({ onState: raise, onTiming: raise, onImageBack: raise });
    const peer = await world.server.peer();
    const opening = world.client.open(picture);
    peer.opened((await peer.next("open")).id);
    await opening;
    expect(reported.mock.calls).toEqual([[theirs], [theirs]]); // connecting, online
    const asked = world.client.segment(click);
    reply(peer, await peer.next("segment"));
    expect(await asked).toMatchObject({ type: "mask" });
    const hovering = world.client.hover(click);
    reply(peer, await peer.next("segment", 1));
    expect(await hovering).toMatchObject({ type: "mask" });
    expect(reported).toHaveBeenCalledTimes(4);
    peer.socket.close(1012);
    const again = await world.server.peer();
    again.opened((await again.next("open")).id);
    await expect.poll(() => reported.mock.calls.length).toBe(8); // waiting, connecting, online, back
  });

  test("onImageLost: is told, once, as the browser tells of errors nobody caught", async () => {
    const told: unknown[] = [];
    vi.stubGlobal("reportError", (error: unknown) => told.push(error));
    world.start({ onImageLost: raise });
    const peer = await world.server.peer();
    const opening = world.client.open(picture);
    peer.opened((await peer.next("open")).id);
    await opening;
    peer.socket.close(1012);
    const again = await world.server.peer();
    const { id } = await again.next("open");
    again.send({ type: "error", id, code: "bad_image", message: "No.", fault: "client" });
    await expect.poll(() => told).toEqual([theirs]);
    expect(reported).not.toHaveBeenCalled();
  });

  test("onState may end the client as it begins to connect", async () => {
    let leaves = false;
    world.start({
      onState: ({ status }) => leaves && status === "connecting" && world.client.disconnect(),
    });
    const peer = await world.server.peer();
    leaves = true;
    peer.socket.close(1012);
    await expect.poll(() => world.client.state.status).toBe("stopped");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(world.server.server.clients.size).toBe(0);
  });
});

describe("an answer that is none", () => {
  const internal = { code: "internal", details: { fault: "server" } };
  const ofAnotherKind = { ...internal, message: expect.stringContaining("of another kind") };
  const done = (id: number): ServerMessage => ({ type: "done", id });
  const masks = (id: number) => maskReply({ type: "segment", id });
  const huge: MaskBody = {
    ...{ bbox: [0, 0, 0, 0], area: 0, score: 0.5 },
    rle: { size: [65535, 65535], counts: new TextEncoder().encode("1ooi0") },
  };
  const small = { ...huge, rle: maskReply({ type: "segment", id: 1 }).rle };
  const turned = { ...huge, rle: { ...small.rle, size: [4, 3] as [number, number] } };

  test.each([
    ["done", done],
    ["mask", masks],
  ])("%s to an open: it fails, and the next one opens", async (_, answer) => {
    world.start();
    const peer = await world.server.peer();
    const opening = world.client.open(picture);
    peer.send(answer((await peer.next("open")).id));
    await expect(opening).rejects.toMatchObject(ofAnotherKind);
    const next = world.client.open(picture);
    peer.opened((await peer.next("open", 1)).id);
    expect(await next).toMatchObject({ width: 4 });
  });

  test.each([
    ["opened", openedReply],
    ["mask", masks],
  ])("%s to a prefetch: it fails, and the image stays", async (_, answer) => {
    const peer = await world.withImage();
    const prefetching = world.client.prefetch(new Blob(["next"]));
    peer.send(answer((await peer.next("open", 1)).id));
    await expect(prefetching).rejects.toMatchObject(ofAnotherKind);
    const asked = world.client.segment(click);
    reply(peer, await peer.next("segment"));
    expect(await asked).toMatchObject({ type: "mask" });
  });

  test.each([
    ["opened", openedReply],
    ["mask", masks],
  ])("%s to a close: it fails", async (_, answer) => {
    const peer = await world.withImage();
    const closing = world.client.close();
    peer.send(answer((await peer.next("close")).id));
    await expect(closing).rejects.toMatchObject(ofAnotherKind);
  });

  test.each<[string, (asked: Segment) => ServerMessage, RegExp]>([
    ["done", ({ id }) => done(id), /of another kind: done/],
    ["opened", ({ id }) => openedReply(id), /of another kind: opened/],
    [
      "a huge mask",
      (asked) => ({ ...maskReply(asked), ...huge }),
      /65535 x 65535, the image 4 x 3/,
    ],
    ["a turned mask", (asked) => ({ ...maskReply(asked), ...turned }), /is 3 x 4, the image 4 x 3/],
    [
      "a huge candidate",
      (asked) => ({ ...maskReply(asked), candidates: [small, small, huge] }),
      /65535 x 65535, the image 4 x 3/,
    ],
  ])("%s to a click or a hover: that fails alone", async (_, answer, message) => {
    const timed = vi.fn();
    const peer = await world.withImage({}, { onTiming: timed });
    for (const [nth, ask] of (["segment", "hover"] as const).entries()) {
      const asked = world.client[ask](click);
      const failed = expect(asked).rejects.toMatchObject({ ...internal, message });
      peer.send(answer(await peer.next("segment", nth)));
      await failed;
    }
    expect(timed).not.toHaveBeenCalled();
    const asked = world.client.segment(click);
    reply(peer, await peer.next("segment", 2));
    expect(await asked).toMatchObject({ type: "mask" });
  });

  test("a mask before its image is open: its click fails", async () => {
    world.start();
    const peer = await world.server.peer();
    world.client.open(picture).catch(() => {});
    const asked = world.client.segment(click);
    reply(peer, await peer.next("segment"));
    await expect(asked).rejects.toMatchObject(internal);
  });

  test("but a mask of an image that was left before we heard that it is open is no fault", async () => {
    world.start();
    const peer = await world.server.peer();
    world.client.open(picture).catch(() => {});
    const asked = world.client.segment(click);
    const request = await peer.next("segment");
    world.client.open(new Blob(["another"])).catch(() => {});
    peer.opened((await peer.next("open")).id);
    reply(peer, request);
    expect(await asked).toEqual({ type: "superseded", id: request.id });
  });

  test("progress of a click is no answer at all", async () => {
    const peer = await world.withImage();
    const asked = world.client.segment(click);
    const request = await peer.next("segment");
    peer.send({ type: "progress", id: request.id, stage: "encode", fraction: 0.5 });
    reply(peer, request);
    expect(await asked).toMatchObject({ type: "mask" });
  });
});
