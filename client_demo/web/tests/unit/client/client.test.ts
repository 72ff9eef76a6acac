import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ClientOptions, connect, type SamwireClient } from "../../../src/client/client.ts";
import type { ConnectionState } from "../../../src/client/connection.ts";
import { MAX_PRIOR_BYTES, type MaskReply, type Segment } from "../../../src/client/messages.ts";
import { CHUNK_BYTES } from "../../../src/client/opening.ts";
import {
  maskReply,
  NodeWebSocket,
  type Peer,
  ScriptedServer,
} from "../../support/scripted-server.ts";

let server: ScriptedServer;
let client: SamwireClient;
let states: ConnectionState["status"][];

function start(options: ClientOptions = {}): void {
  states = [];
  client = connect({
    url: server.url,
    WebSocket: NodeWebSocket,
    random: () => 0.01,
    onState: ({ status }) => states.push(status),
    ...options,
  });
}

beforeEach(async () => {
  server = await ScriptedServer.start();
});

afterEach(async () => {
  client?.disconnect();
  await server.stop();
});

const picture = new Blob([new Uint8Array(CHUNK_BYTES + 10)]);
/** A file that was moved away after it was chosen. */
const gone = Object.assign(new Blob(["x"]), {
  arrayBuffer: () => Promise.reject(new DOMException("", "NotFoundError")),
});
const click = { object: 1, points: [[1, 2, 1]] as [number, number, number][] };

/** A connected client with an open image. */
async function withImage(limits?: Parameters<ScriptedServer["peer"]>[0]): Promise<Peer> {
  start();
  const peer = await server.peer(limits);
  const opening = client.open(picture);
  peer.opened((await peer.next("open")).id);
  await opening;
  return peer;
}

const reply = (peer: Peer, request: Segment) => peer.send(maskReply(request));

describe("opening", () => {
  test("says hello first, then the digest, and sends bytes only when told to", async () => {
    start({ client: "test" });
    const peer = await server.peer();
    const stages: string[] = [];
    const opening = client.open(picture, ({ stage }) => stages.push(stage));
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
    start();
    const first = client.open(picture);
    await server.peer();
    await new Promise((resolve) => setTimeout(resolve, 0));
    const overtaken = expect(first).rejects.toMatchObject({ code: "superseded" });
    client.open(new Blob(["other"])).catch(() => {});
    await overtaken;
  });

  test("a refused image rejects with the server's code", async () => {
    start();
    const peer = await server.peer();
    const opening = client.open(picture);
    const { id } = await peer.next("open");
    peer.send({ type: "error", id, code: "bad_image", message: "No.", fault: "client" });
    await expect(opening).rejects.toMatchObject({ code: "bad_image", message: "No." });
  });

  test("a file that cannot be read is told as such", async () => {
    start();
    await expect(client.open(gone)).rejects.toMatchObject({ code: "unreadable" });
  });

  test("a file that goes away while it is sent ends the open, here and there", async () => {
    start();
    const peer = await server.peer();
    const vanishing = new Blob(["x"]);
    const opening = client.open(vanishing);
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
    start({ WebSocket: SlowSocket });
    const peer = await server.peer();
    const opening = client.open(picture);
    peer.opened((await peer.next("open")).id);
    await opening;
    client.prefetch(picture).catch(() => {});
    const { id } = await peer.next("open", 1);
    [held, looks] = [CHUNK_BYTES + 1, 0];
    peer.send({ type: "send", id });
    await expect.poll(() => looks).toBeGreaterThan(3);
    client.segment(click).catch(() => {});
    await peer.next("segment");
    expect(peer.received.filter(({ type }) => type === "data")).toHaveLength(0);
    held = 0;
    expect((await peer.next("data", 1)).bytes).toHaveLength(10);
  });

  test("a prefetch is an open of its own, and done is its end", async () => {
    const peer = await withImage();
    const prefetching = client.prefetch(new Blob(["next"]));
    const open = await peer.next("open", 1);
    expect(open.prefetch).toBe(true);
    peer.send({ type: "done", id: open.id });
    await prefetching;
  });
});

describe("segmenting", () => {
  test("answers by id whatever the order, and ids grow", async () => {
    const peer = await withImage();
    const [first, second] = [client.segment(click), client.segment({ ...click, object: 2 })];
    const requests = [await peer.next("segment", 0), await peer.next("segment", 1)];
    expect(requests[1]!.id).toBeGreaterThan(requests[0]!.id);
    reply(peer, requests[1]!);
    reply(peer, requests[0]!);
    expect(await first).toMatchObject({ id: requests[0]!.id, object: 1 });
    expect(await second).toMatchObject({ id: requests[1]!.id, object: 2 });
  });

  test("an error names its code and field", async () => {
    const peer = await withImage();
    const asked = client.segment({ object: 1 });
    const { id } = await peer.next("segment");
    const error = { code: "no_positive_prompt", message: "Add one.", field: "points" };
    peer.send({ type: "error", id, fault: "client", ...error });
    await expect(asked).rejects.toMatchObject({ code: error.code, details: { field: "points" } });
  });

  test("an aborted request sends cancel and counts as superseded", async () => {
    const peer = await withImage();
    const abort = new AbortController();
    const asked = client.segment({ ...click, signal: abort.signal });
    const { id } = await peer.next("segment");
    abort.abort();
    expect(await asked).toEqual({ type: "superseded", id });
    expect(await peer.next("cancel")).toEqual({ type: "cancel", target: id });
  });

  test("an absent prior stays absent and null goes out as nil", async () => {
    const peer = await withImage();
    client.segment(click).catch(() => {});
    client.segment({ ...click, object: 2, prior: null }).catch(() => {});
    expect(await peer.next("segment", 0)).not.toHaveProperty("prior");
    expect(await peer.next("segment", 1)).toHaveProperty("prior", null);
  });

  test.each([
    ["as a mask instead", undefined],
    ["not at all when its mask is too long", 2],
  ])("a prior the server no longer has is sent %s", async (_, limit) => {
    const peer = await withImage(limit === undefined ? {} : { max_prior_bytes: limit });
    const asked = client.segment(click);
    reply(peer, await peer.next("segment"));
    const mask = await asked;
    if (mask.type !== "mask") throw new Error("expected a mask");
    const refined = client.segment({ ...click, prior: { mask, candidate: 0 } });
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
  const peer = await withImage();
  const opening = client.open(new Blob(["another"]));
  const asked = client.segment(click);
  const open = await peer.next("open", 1);
  const segment = await peer.next("segment");
  expect(segment.id).toBeGreaterThan(open.id);
  peer.opened(open.id);
  reply(peer, segment);
  await opening;
  expect(await asked).toMatchObject({ id: segment.id });
});

describe("a picture that was left", () => {
  test("answers no click that still waits for the connection", async () => {
    start();
    const first = client.open(picture);
    first.catch(() => {});
    const asked = client.segment(click);
    const second = client.open(new Blob(["another"]));
    const peer = await server.peer();
    peer.opened((await peer.next("open")).id);
    await second;
    expect(await asked).toMatchObject({ type: "superseded" });
    const next = client.segment({ ...click, object: 2 });
    const segment = await peer.next("segment");
    expect(segment.object).toBe(2);
    reply(peer, segment);
    await next;
  });

  test("and a click that was given up while it waited ask nothing", async () => {
    start();
    const opening = client.open(picture);
    const abort = new AbortController();
    const asked = client.segment({ ...click, signal: abort.signal });
    abort.abort();
    const peer = await server.peer();
    peer.opened((await peer.next("open")).id);
    await opening;
    expect(await asked).toMatchObject({ type: "superseded" });
    expect(peer.received.filter(({ type }) => type === "segment")).toHaveLength(0);
  });

  test("asks nothing again when a prior of it is gone", async () => {
    const peer = await withImage();
    const asked = client.segment(click);
    reply(peer, await peer.next("segment"));
    const mask = (await asked) as MaskReply;
    const refined = client.segment({ ...click, prior: { mask } });
    const { id } = await peer.next("segment", 1);
    const opening = client.open(new Blob(["another"]));
    peer.send({ type: "error", id, code: "prior_gone", message: "Gone.", fault: "client" });
    expect(await refined).toMatchObject({ type: "superseded" });
    peer.opened((await peer.next("open", 1)).id);
    await opening;
    expect(peer.received.filter(({ type }) => type === "segment")).toHaveLength(2);
  });

  test("lends no mask to the next one when its answer crosses the open", async () => {
    const peer = await withImage();
    const asked = client.segment(click);
    const request = await peer.next("segment");
    const opening = client.open(new Blob(["another"]));
    peer.opened((await peer.next("open", 1)).id);
    reply(peer, request);
    await opening;
    expect(await asked).toMatchObject({ type: "mask" });
    client.segment({ ...click, points: [...click.points, [2, 2, 0]] }).catch(() => {});
    expect(await peer.next("segment", 1)).not.toHaveProperty("prior");
  });

  test("shows no preview of it", async () => {
    const peer = await withImage();
    const hovering = client.hover(click);
    const request = await peer.next("segment");
    client.open(new Blob(["another"])).catch(() => {});
    reply(peer, request);
    expect(await hovering).toBeNull();
  });
});

test("a connection that fell silent is given up and made anew", async () => {
  start({ silenceMs: 30 });
  await server.peer();
  const opening = client.open(picture);
  const again = await server.peer();
  again.opened((await again.next("open")).id);
  expect(await opening).toMatchObject({ type: "opened" });
});

test("what is never answered leaves an idle connection alone", async () => {
  start({ silenceMs: 30 });
  const peer = await server.peer();
  const opening = client.open(picture);
  peer.opened((await peer.next("open")).id);
  await opening;
  client.release(1);
  await peer.next("release");
  await new Promise((resolve) => setTimeout(resolve, 90));
  expect(client.state.status).toBe("online");
});

describe("hovering", () => {
  test("keeps one in flight and one pending: the newest", async () => {
    const peer = await withImage();
    const at = (x: number) => client.hover({ object: 1, points: [[x, 1, 1]] });
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
    const peer = await withImage();
    const first = client.hover({ points: [[0, 0, 1]] });
    const second = client.hover({ points: [[1, 0, 1]] });
    const { id } = await peer.next("segment", 0);
    const failed = expect(first).rejects.toMatchObject({ code: "overload" });
    peer.send({ type: "error", id, code: "overload", message: "Later.", fault: "overload" });
    await failed;
    reply(peer, await peer.next("segment", 1));
    expect(await second).not.toBeNull();
  });
});

describe("a lost connection", () => {
  test("rejects what was asked, reopens by digest and refines from the mask it has", async () => {
    const peer = await withImage();
    const asked = client.segment(click);
    reply(peer, await peer.next("segment", 0));
    const mask = await asked;
    const lost = client.segment({ ...click, points: [...click.points, [2, 2, 0]] });
    const rejected = expect(lost).rejects.toMatchObject({ code: "connection_lost" });
    await peer.next("segment", 1);
    peer.socket.close(1012);
    await rejected;

    const again = await server.peer();
    const open = await again.next("open");
    expect(open.sha256).toBe((await peer.next("open")).sha256);
    const retried = client.segment({ ...click, points: [...click.points, [2, 2, 0]] });
    const request = await again.next("segment");
    expect(request.prior).toEqual(mask.type === "mask" && mask.rle);
    reply(again, request);
    await retried;
    expect(states).toEqual(expect.arrayContaining(["online", "waiting", "connecting", "online"]));
  });

  test("an upload begins again on the next connection", async () => {
    start();
    const peer = await server.peer();
    const opening = client.open(picture);
    peer.send({ type: "send", id: (await peer.next("open")).id });
    await peer.next("data");
    peer.socket.terminate();
    const again = await server.peer();
    again.opened((await again.next("open")).id);
    expect(await opening).toMatchObject({ type: "opened" });
  });

  test("opening again is told as the first time, and its end too", async () => {
    const heard: string[] = [];
    start({ onImageBack: ({ width }) => heard.push(`back ${width}`) });
    const peer = await server.peer();
    const opening = client.open(picture, ({ stage }) => heard.push(stage));
    peer.opened((await peer.next("open")).id);
    await opening;
    peer.socket.close(1012);
    const again = await server.peer();
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
    start({
      onState: (state) => state.status === "waiting" && waits.push(state.reason?.code),
    });
    const peer = await server.peer();
    peer.socket.close(code);
    await server.peer();
    expect(waits).toEqual([reason]);
  });

  test("a named prior from before travels as a mask", async () => {
    const peer = await withImage();
    const asked = client.segment(click);
    reply(peer, await peer.next("segment"));
    const mask = await asked;
    if (mask.type !== "mask") throw new Error("expected a mask");
    peer.socket.close(1011);
    const again = await server.peer();
    client.segment({ ...click, prior: { mask } }).catch(() => {});
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
    const peer = await withImage();
    const asked = client.segment(click);
    const counts = new Uint8Array(length).fill(48);
    const first = { ...maskReply(await peer.next("segment")), rle: { size: [3, 4], counts } };
    peer.send(first as MaskReply);
    const mask = (await asked) as MaskReply;
    peer.socket.close(1012);

    const again = await server.peer(max_prior_bytes === undefined ? {} : { max_prior_bytes });
    const more = [...click.points, [2, 2, 0]] as typeof click.points;
    for (const prior of [undefined, { mask }]) {
      client.segment({ ...click, points: more, prior }).catch(() => {});
    }
    const expected = sent ? mask.rle : null;
    expect((await again.next("segment", 0)).prior).toEqual(expected);
    expect((await again.next("segment", 1)).prior).toEqual(expected);
  });

  test("an idle close sleeps until the next action", async () => {
    const peer = await withImage();
    peer.socket.close(4204);
    await expect.poll(() => client.state.status).toBe("asleep");
    const asked = client.segment(click);
    const again = await server.peer();
    expect((await again.next("open")).type).toBe("open");
    reply(again, await again.next("segment"));
    expect(await asked).toMatchObject({ type: "mask" });
  });

  test.each([
    [4001, "unauthorized"],
    [4003, "forbidden_origin"],
    [1002, "version"],
  ])("a close with %i stops, and everything says so", async (code, name) => {
    const peer = await withImage();
    const asked = client.segment(click);
    const rejected = expect(asked).rejects.toMatchObject({ code: name });
    await peer.next("segment");
    peer.socket.close(code);
    await rejected;
    expect(client.state.status).toBe("stopped");
    await expect(client.segment(click)).rejects.toMatchObject({ code: name });
    expect(await client.hover(click)).toBeNull();
  });

  test("an error before the close is the reason that is told", async () => {
    const peer = await withImage();
    peer.send({ type: "error", code: "abuse", message: "Too fast.", fault: "client" });
    peer.socket.close(4008);
    await expect.poll(() => client.state.status).toBe("stopped");
    await expect(client.open(picture)).rejects.toMatchObject({ message: "Too fast." });
  });
});

test("release and close are told to the server", async () => {
  const peer = await withImage();
  client.release(1);
  expect(await peer.next("release")).toEqual({ type: "release", object: 1 });
  const closing = client.close();
  peer.send({ type: "done", id: (await peer.next("close")).id });
  await closing;
});
