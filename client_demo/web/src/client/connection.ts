/**
 * One WebSocket after another: connects, says hello, and comes back by the close-code rules.
 *
 * It knows nothing of images or masks. Nothing is queued here: what is sent while the connection
 * is down is refused, so a stale frame can never arrive ahead of the next `hello`.
 */
import { SamwireError } from "./errors.ts";
import { type ClientMessage, type ServerMessage, SUBPROTOCOL, type Welcome } from "./messages.ts";
import { afterClose, backoffMs } from "./reconnect.ts";
import { FrameError, pack, unpack } from "./wire.ts";

export type ConnectionState =
  | { readonly status: "connecting"; readonly attempt: number }
  | { readonly status: "online"; readonly welcome: Welcome }
  | {
      readonly status: "waiting";
      readonly attempt: number;
      readonly delayMs: number;
      /** Why, where it is known: the server is full, restarts, or sent what is no message. */
      readonly reason: SamwireError | null;
    }
  | { readonly status: "asleep" }
  | { readonly status: "stopped"; readonly error: SamwireError };

export interface ConnectionOptions {
  readonly url: string;
  readonly token?: string | undefined;
  readonly client?: string | undefined;
  readonly WebSocket?: typeof WebSocket | undefined;
  readonly random?: (() => number) | undefined;
  /** Something was asked and nothing came for so long: the connection is dead, whatever it says. */
  readonly silenceMs?: number | undefined;
  /** A server that said it goes away, and does not, is left so long after it should have gone. */
  readonly graceMs?: number | undefined;
}

const SILENCE_MS = 60_000;
const GRACE_MS = 5000;
/** What a timer takes; a longer one would end at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** 1002 of the protocol, which browsers keep for themselves. */
const NOT_A_MESSAGE = 4002;

export interface ConnectionListener {
  onState(state: ConnectionState): void;
  onMessage(message: ServerMessage): void;
}

export class Connection {
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #farewell: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  /** The last connection ended in what is no message: a `welcome` does not mean all is well. */
  #distrusts = false;
  #state: ConnectionState = { status: "asleep" };
  /** The last error without an id: when a close follows, it is the reason. */
  #reason: SamwireError | null = null;

  constructor(
    private readonly options: ConnectionOptions,
    private readonly listener: ConnectionListener,
  ) {}

  get state(): ConnectionState {
    return this.#state;
  }

  /** How many bytes still wait to leave this machine. */
  get bufferedBytes(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  /** Connect now, unless that is under way or was refused for good. */
  wake(): void {
    if (this.#state.status !== "asleep" && this.#state.status !== "waiting") return;
    // Whoever acts is waited for no longer than if the connection had only now been lost.
    this.#attempt = Math.min(this.#attempt, 1);
    this.#connect();
  }

  /** Whether the message went out: only while online. */
  send(message: ClientMessage): boolean {
    if (this.#state.status !== "online") return false;
    this.#socket?.send(pack(message));
    // What has no id of its own is not answered.
    if ("id" in message) {
      this.#watchdog ??= setTimeout(() => this.#silent(), this.options.silenceMs ?? SILENCE_MS);
    }
    return true;
  }

  close(): void {
    this.#drop();
    const error = new SamwireError("stopped", "The connection was closed by this page.");
    this.#enter({ status: "stopped", error });
  }

  #enter(state: ConnectionState): void {
    this.#state = state;
    this.listener.onState(state);
  }

  #drop(code = 1000): void {
    clearTimeout(this.#timer);
    this.#forget();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code);
  }

  #connect(): void {
    this.#drop();
    this.#reason = null;
    const Socket = this.options.WebSocket ?? WebSocket;
    const socket = new Socket(this.options.url, SUBPROTOCOL);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    const { token, client } = this.options;
    socket.onopen = () => socket.send(pack({ type: "hello", token, client }));
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
    socket.onerror = () => {}; // a close with its code always follows
    this.#enter({ status: "connecting", attempt: this.#attempt });
  }

  #heard(): void {
    clearTimeout(this.#watchdog);
    this.#watchdog = undefined;
  }

  /** Nothing more is expected of this connection. */
  #forget(): void {
    this.#heard();
    clearTimeout(this.#farewell);
    this.#farewell = undefined;
  }

  /** The server said that it ends this connection; if it does not, we do, and come back. */
  #expectEnd(withinMs: number): void {
    const graceMs = this.options.graceMs ?? GRACE_MS;
    this.#farewell ??= setTimeout(
      () => {
        this.#drop();
        this.#retry(new SamwireError("restarting", "The server did not go away as it had said."));
      },
      Math.min(withinMs + graceMs, MAX_TIMER_MS),
    );
  }

  /** A network that vanished does not always end its sockets. */
  #silent(): void {
    this.#drop();
    this.#retry(null);
  }

  #receive(data: unknown): void {
    this.#heard();
    const message = this.#read(data);
    if (!message) return;
    if (message.type === "welcome") {
      if (!this.#distrusts) this.#attempt = 0;
      this.#enter({ status: "online", welcome: message });
    } else if (message.type === "draining") {
      this.#expectEnd(message.deadline_s * 1000);
    } else if (message.type === "error") {
      if (message.id === undefined) this.#reason = SamwireError.from(message);
      if (message.code === "restarting") this.#expectEnd(0);
    }
    this.listener.onMessage(message);
  }

  /** Whoever waits for the answer that a broken frame should have been must not wait for ever. */
  #read(data: unknown): ServerMessage | null {
    try {
      return unpack(data);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#drop(NOT_A_MESSAGE);
      this.#distrusts = true;
      this.#retry(new SamwireError("bad_frame", error.message, { fault: "server" }));
      return null;
    }
  }

  #closed(code: number, text: string): void {
    this.#forget();
    this.#distrusts = false;
    this.#socket = null;
    const next = afterClose(code);
    if (next === "stop") {
      const error = this.#reason ?? reasonOf(code, text) ?? stopped(code, text);
      this.#enter({ status: "stopped", error });
    } else if (next === "sleep") {
      this.#enter({ status: "asleep" });
    } else {
      this.#retry(this.#reason ?? reasonOf(code, text));
    }
  }

  #retry(reason: SamwireError | null): void {
    const delayMs = backoffMs(this.#attempt, this.options.random ?? Math.random);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(), delayMs);
    this.#enter({ status: "waiting", attempt: this.#attempt, delayMs, reason });
  }
}

const CODES: Record<number, string> = {
  1002: "version",
  1003: "text_frame",
  1009: "frame_too_big",
  1012: "restarting",
  1013: "full",
  4001: "unauthorized",
  4003: "forbidden_origin",
  4008: "abuse",
  4102: "slow_reader",
};

/** What the table says of a close that came without an `error` before it; null of one it lacks. */
function reasonOf(code: number, text: string): SamwireError | null {
  const known = CODES[code];
  return known ? new SamwireError(known, text || `Closed with ${code}.`) : null;
}

function stopped(code: number, text: string): SamwireError {
  return new SamwireError("stopped", text || `Closed with ${code}.`);
}
