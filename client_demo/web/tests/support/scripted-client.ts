/** A client against a scripted server, anew for each test. */
import { afterEach, beforeEach } from "vitest";
import { type ClientOptions, connect, type SamwireClient } from "../../src/client/client.ts";
import type { ConnectionState } from "../../src/client/connection.ts";
import type { Segment } from "../../src/client/messages.ts";
import { CHUNK_BYTES } from "../../src/client/opening.ts";
import { maskReply, NodeWebSocket, type Peer, ScriptedServer } from "./scripted-server.ts";

/** Of two chunks. */
export const picture = new Blob([new Uint8Array(CHUNK_BYTES + 10)]);
export const click = { object: 1, points: [[1, 2, 1]] as [number, number, number][] };
export const reply = (peer: Peer, request: Segment) => peer.send(maskReply(request));

export class World {
  server!: ScriptedServer;
  client!: SamwireClient;
  states: ConnectionState["status"][] = [];

  start(options: ClientOptions = {}): void {
    this.states = [];
    this.client = connect({
      url: this.server.url,
      WebSocket: NodeWebSocket,
      random: () => 0.01,
      onState: ({ status }) => this.states.push(status),
      ...options,
    });
  }

  /** A connected client with an open image. */
  async withImage(
    limits?: Parameters<ScriptedServer["peer"]>[0],
    options?: ClientOptions,
  ): Promise<Peer> {
    this.start(options);
    const peer = await this.server.peer(limits);
    const opening = this.client.open(picture);
    peer.opened((await peer.next("open")).id);
    await opening;
    return peer;
  }
}

export function useWorld(): World {
  const world = new World();
  beforeEach(async () => {
    world.server = await ScriptedServer.start();
  });
  afterEach(async () => {
    world.client?.disconnect();
    await world.server.stop();
  });
  return world;
}
