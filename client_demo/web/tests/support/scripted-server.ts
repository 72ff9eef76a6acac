/** A real WebSocket server that speaks real frames and does as a test tells it. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { decode, encode } from "@msgpack/msgpack";
import { WebSocket, WebSocketServer } from "ws";
import type {
  ClientMessage,
  MaskReply,
  Opened,
  Segment,
  ServerMessage,
  Welcome,
} from "../../src/client/messages.ts";
import { SUBPROTOCOL } from "../../src/client/messages.ts";

export const WELCOME: Welcome = {
  type: "welcome",
  session: "s1",
  protocol: SUBPROTOCOL,
  server: "test",
  model: { name: "tiny", input_size: 512 },
  limits: {
    max_frame_bytes: 1 << 20,
    max_data_bytes: 1 << 18,
    max_image_bytes: 1 << 25,
    max_image_pixels: 1 << 26,
    max_points: 64,
    max_waiting_clicks: 16,
    idle_timeout_s: 300,
    segments_per_s: 60,
  },
  features: ["candidates", "prefetch", "prior_rle"],
};

/** One connection as the server sees it. */
export class Peer {
  readonly received: ClientMessage[] = [];
  #watchers: (() => void)[] = [];

  constructor(readonly socket: WebSocket) {
    socket.on("message", (data: Buffer) => {
      this.received.push(decode(Uint8Array.from(data)) as ClientMessage);
      for (const watch of this.#watchers.splice(0)) watch();
    });
  }

  /** The `nth` message of a type, when it comes. */
  async next<T extends ClientMessage["type"]>(
    type: T,
    nth = 0,
  ): Promise<Extract<ClientMessage, { type: T }>> {
    for (;;) {
      const found = this.received.filter((message) => message.type === type)[nth];
      if (found) return found as Extract<ClientMessage, { type: T }>;
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
  }

  send(message: ServerMessage): void {
    this.socket.send(encode(message, { ignoreUndefined: true }));
  }

  async welcome(limits: Partial<Welcome["limits"]> = {}): Promise<this> {
    await this.next("hello");
    this.send({ ...WELCOME, limits: { ...WELCOME.limits, ...limits } });
    return this;
  }

  opened(id: number): void {
    this.send(openedReply(id));
  }
}

export function openedReply(id: number): Opened {
  return {
    type: "opened",
    id,
    width: 4,
    height: 3,
    sha256: "0".repeat(64),
    cached: false,
    timings: { wait_ms: 0, decode_ms: 1, encode_ms: 2 },
  };
}

export function maskReply(request: Segment): MaskReply {
  return {
    type: "mask",
    id: request.id,
    object: request.object ?? 0,
    rle: { size: [3, 4], counts: new TextEncoder().encode("324") },
    bbox: [0, 0, 1, 2],
    area: 2,
    score: 0.9,
    prior: null,
    timings: { queue_ms: 0, decode_ms: 1, post_ms: 1, batch: 1 },
  };
}

export class ScriptedServer {
  readonly peers: Peer[] = [];
  #arrivals: ((peer: Peer) => void)[] = [];

  private constructor(readonly server: WebSocketServer) {
    server.on("connection", (socket) => {
      const peer = new Peer(socket);
      const waiting = this.#arrivals.shift();
      if (waiting) waiting(peer);
      else this.peers.push(peer);
    });
  }

  static async start(): Promise<ScriptedServer> {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    return new ScriptedServer(server);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** The next connection, greeted. */
  async peer(limits?: Partial<Welcome["limits"]>): Promise<Peer> {
    const peer =
      this.peers.shift() ?? (await new Promise<Peer>((resolve) => this.#arrivals.push(resolve)));
    return peer.welcome(limits);
  }

  async stop(): Promise<void> {
    for (const socket of this.server.clients) socket.terminate();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** As in a browser, a page may not give just any close code; an answer to the server's may be any. */
class BrowserLike extends WebSocket {
  declare readonly _closeFrameReceived: boolean;

  override close(code = 1000, reason?: string): void {
    if (!this._closeFrameReceived && code !== 1000 && !(code >= 3000 && code < 5000)) {
      throw new DOMException(`not for a page: ${code}`, "InvalidAccessError");
    }
    super.close(code, reason);
  }
}

export const NodeWebSocket = BrowserLike as unknown as typeof globalThis.WebSocket;
