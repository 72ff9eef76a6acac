/** What the client does when connections end, or say nothing. */
import { describe, expect, test } from "vitest";
import { MAX_PRIOR_BYTES, type MaskReply } from "../../../src/client/messages.ts";
import { click, picture, reply, useWorld } from "../../support/scripted-client.ts";
import { maskReply } from "../../support/scripted-server.ts";

const world = useWorld();

describe("a lost connection", () => {
  test("rejects what was asked, reopens by digest and refines from the mask it has", async () => {
    const peer = await world.withImage();
    const asked = world.client.segment(click);
    reply(peer, await peer.next("segment", 0));
    const mask = await asked;
    const lost = world.client.segment({ ...click, points: [...click.points, [2, 2, 0]] });
    const rejected = expect(lost).rejects.toMatchObject({ code: "connection_lost" });
    await peer.next("segment", 1);
    peer.socket.close(1012);
    await rejected;

    const again = await world.server.peer();
    const open = await again.next("open");
    expect(open.sha256).toBe((await peer.next("open")).sha256);
    again.opened(open.id);
    const retried = world.client.segment({ ...click, points: [...click.points, [2, 2, 0]] });
    const request = await again.next("segment");
    expect(request.prior).toEqual(mask.type === "mask" && mask.rle);
    reply(again, request);
    await retried;
    expect(world.states).toEqual(
      expect.arrayContaining(["online", "waiting", "connecting", "online"]),
    );
  });

  test("an upload begins again on the next connection", async () => {
    world.start();
    const peer = await world.server.peer();
    const opening = world.client.open(picture);
    peer.send({ type: "send", id: (await peer.next("open")).id });
    await peer.next("data");
    peer.socket.terminate();
    const again = await world.server.peer();
    again.opened((await again.next("open")).id);
    expect(await opening).toMatchObject({ type: "opened" });
  });

  test("an open that a stopping server turns away is asked for again on the next one", async () => {
    world.start();
    const peer = await world.server.peer();
    const opening = world.client.open(picture);
    const { id } = await peer.next("open");
    peer.send({ type: "error", id, code: "restarting", message: "stopping", fault: "server" });
    peer.socket.close(1012);
    const again = await world.server.peer();
    again.opened((await again.next("open")).id);
    expect(await opening).toMatchObject({ type: "opened" });
  });

  test("opening again is told as the first time, and its end too", async () => {
    const heard: string[] = [];
    world.start({ onImageBack: ({ width }) => heard.push(`back ${width}`) });
    const peer = await world.server.peer();
    const opening = world.client.open(picture, ({ stage }) => heard.push(stage));
    peer.opened((await peer.next("open")).id);
    await opening;
    peer.socket.close(1012);
    const again = await world.server.peer();
    const { id } = await again.next("open");
    again.send({ type: "progress", id, stage: "encode", fraction: 0.5 });
    again.opened(id);
    await expect.poll(() => heard).toEqual(["encode", "back 4"]);
  });

  test.each([
    [1013, "full"],
    [1012, "restarting"],
    [1011, undefined],
  ])("a close with %i is waited out, and says why", async (code, reason) => {
    const waits: (string | undefined)[] = [];
    world.start({
      onState: (state) => state.status === "waiting" && waits.push(state.reason?.code),
    });
    const peer = await world.server.peer();
    peer.socket.close(code);
    await world.server.peer();
    expect(waits).toEqual([reason]);
  });

  test("is made anew at once for a click, however long the wait was to be", async () => {
    world.start({ random: () => 1000 });
    const peer = await world.server.peer();
    peer.socket.close(1011);
    await expect.poll(() => world.client.state.status).toBe("waiting");
    world.client.segment(click).catch(() => {});
    await (await world.server.peer()).next("segment");
  });

  test("is not waited for longer because somebody acts meanwhile", async () => {
    const waits: number[] = [];
    world.start({
      url: "ws://127.0.0.1:1",
      random: () => 1000,
      onState: (state) => state.status === "waiting" && waits.push(state.attempt),
    });
    for (let acts = 1; acts <= 5; acts++) {
      await expect.poll(() => waits).toHaveLength(acts);
      world.client.wake();
    }
    expect(Math.max(...waits)).toBe(2);
  });

  test("a named prior from before travels as a mask", async () => {
    const peer = await world.withImage();
    const asked = world.client.segment(click);
    reply(peer, await peer.next("segment"));
    const mask = await asked;
    if (mask.type !== "mask") throw new Error("expected a mask");
    peer.socket.close(1011);
    const again = await world.server.peer();
    world.client.segment({ ...click, prior: { mask } }).catch(() => {});
    expect((await again.next("segment")).prior).toEqual(mask.rle);
  });

  test.each([
    ["sent when just as long as the server takes", 3, 3, true],
    ["left out when longer", 3, 2, false],
    [
      "left out when longer than servers take that do not say",
      MAX_PRIOR_BYTES + 1,
      undefined,
      false,
    ],
  ])("the mask to refine is %s", async (_, length, max_prior_bytes, sent) => {
    const peer = await world.withImage();
    const asked = world.client.segment(click);
    const counts = new Uint8Array(length).fill(48);
    const first = { ...maskReply(await peer.next("segment")), rle: { size: [3, 4], counts } };
    peer.send(first as MaskReply);
    const mask = (await asked) as MaskReply;
    peer.socket.close(1012);

    const again = await world.server.peer(max_prior_bytes === undefined ? {} : { max_prior_bytes });
    const more = [...click.points, [2, 2, 0]] as typeof click.points;
    for (const prior of [undefined, { mask }]) {
      world.client.segment({ ...click, points: more, prior }).catch(() => {});
    }
    const expected = sent ? mask.rle : null;
    expect((await again.next("segment", 0)).prior).toEqual(expected);
    expect((await again.next("segment", 1)).prior).toEqual(expected);
  });

  test("an idle close sleeps until the next action", async () => {
    const peer = await world.withImage();
    peer.socket.close(4204);
    await expect.poll(() => world.client.state.status).toBe("asleep");
    const asked = world.client.segment(click);
    const again = await world.server.peer();
    again.opened((await again.next("open")).id);
    reply(again, await again.next("segment"));
    expect(await asked).toMatchObject({ type: "mask" });
  });

  test.each([
    [4001, "unauthorized"],
    [4003, "forbidden_origin"],
    [1002, "version"],
  ])("a close with %i stops, and everything says so", async (code, name) => {
    const peer = await world.withImage();
    const asked = world.client.segment(click);
    const rejected = expect(asked).rejects.toMatchObject({ code: name });
    await peer.next("segment");
    peer.socket.close(code);
    await rejected;
    expect(world.client.state.status).toBe("stopped");
    await expect(world.client.segment(click)).rejects.toMatchObject({ code: name });
    expect(await world.client.hover(click)).toBeNull();
  });

  test("an error before the close is the reason that is told", async () => {
    const peer = await world.withImage();
    peer.send({ type: "error", code: "abuse", message: "Too fast.", fault: "client" });
    peer.socket.close(4008);
    await expect.poll(() => world.client.state.status).toBe("stopped");
    await expect(world.client.open(picture)).rejects.toMatchObject({ message: "Too fast." });
  });
});

test("a connection that fell silent is given up and made anew", async () => {
  world.start({ silenceMs: 30 });
  await world.server.peer();
  const opening = world.client.open(picture);
  const again = await world.server.peer();
  again.opened((await again.next("open")).id);
  expect(await opening).toMatchObject({ type: "opened" });
});

describe("a server that says it goes away, and does not,", () => {
  const restarting = { code: "restarting", message: "Stopping.", fault: "server" } as const;

  test("is left: an open it turned away goes on elsewhere", async () => {
    const reasons: (string | undefined)[] = [];
    world.start({
      graceMs: 30,
      onState: (state) => state.status === "waiting" && reasons.push(state.reason?.code),
    });
    const peer = await world.server.peer();
    const opening = world.client.open(picture);
    peer.send({ type: "send", id: (await peer.next("open")).id });
    await peer.next("data", 1);
    peer.send({ type: "error", id: (await peer.next("open")).id, ...restarting });
    const again = await world.server.peer();
    again.opened((await again.next("open")).id);
    expect(await opening).toMatchObject({ type: "opened" });
    expect(reasons).toEqual(["restarting"]);
  });

  test("is left when a click heard of it, too", async () => {
    world.start({ graceMs: 30 });
    const peer = await world.server.peer();
    const opening = world.client.open(picture);
    peer.opened((await peer.next("open")).id);
    await opening;
    const asked = world.client.segment(click);
    const rejected = expect(asked).rejects.toMatchObject({ code: "restarting" });
    peer.send({ type: "error", id: (await peer.next("segment")).id, ...restarting });
    await rejected;
    await (await world.server.peer()).next("open");
  });

  test("has as long as it announced, in which earlier requests are answered", async () => {
    const started = performance.now();
    const peer = await world.withImage({}, { graceMs: 30 });
    const asked = world.client.segment(click);
    peer.send({ type: "draining", deadline_s: 0.2 });
    const request = await peer.next("segment");
    const late = expect(world.client.segment({ ...click, object: 2 })).rejects.toMatchObject({
      code: "restarting",
    });
    peer.send({ type: "error", id: (await peer.next("segment", 1)).id, ...restarting });
    await late;
    await new Promise((resolve) => setTimeout(resolve, 100));
    reply(peer, request);
    expect(await asked).toMatchObject({ type: "mask" });
    await (await world.server.peer()).next("open");
    expect(performance.now() - started).toBeGreaterThan(225);
  });

  test("is left alone for as long as it asks, be that weeks", async () => {
    const peer = await world.withImage({}, { graceMs: 0 });
    peer.send({ type: "draining", deadline_s: 1e9 });
    const asked = world.client.segment(click);
    reply(peer, await peer.next("segment"));
    await asked;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(world.client.state.status).toBe("online");
  });

  test("is not left again when it went away in time", async () => {
    const peer = await world.withImage({}, { graceMs: 60 });
    peer.send({ type: "draining", deadline_s: 0 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    peer.socket.close(1012);
    await (await world.server.peer()).next("open");
    await new Promise((resolve) => setTimeout(resolve, 90));
    expect(world.states.filter((status) => status === "waiting")).toHaveLength(1);
  });
});

test("what is never answered leaves an idle connection alone", async () => {
  world.start({ silenceMs: 30 });
  const peer = await world.server.peer();
  const opening = world.client.open(picture);
  peer.opened((await peer.next("open")).id);
  await opening;
  world.client.release(1);
  await peer.next("release");
  await new Promise((resolve) => setTimeout(resolve, 90));
  expect(world.client.state.status).toBe("online");
});
