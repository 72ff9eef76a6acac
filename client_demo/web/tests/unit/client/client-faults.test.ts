/** Callbacks that raise, and servers that answer nonsense: nothing hangs, and all else goes on. */
import { encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import { click, reply, useWorld } from "../../support/scripted-client.ts";

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
