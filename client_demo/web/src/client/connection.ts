/**
 * One WebSocket after another: connects, says hello, and comes back by the close-code rules.
 *
 * It knows nothing of images or masks. Nothing is queued here: what is sent while the connection
 * is down is refused, so a stale frame can never arrive ahead of the next `hello`.
 */
import { SamwireError } from "./errors.ts";
import { type ClientMessage, type ServerMessage, SUBPROTOCOL, type Welcome } from "./messages.ts";
import { afterClose, backoffMs } from "./reconnect.ts";
import { pack, unpack } from "./wire.ts";

export type ConnectionState =
  | { readonly status: "connecting"; readonly attempt: number }
  | { readonly status: "online"; readonly welcome: Welcome }
  | {
      readonly status: "waiting";
      readonly attempt: number;
      readonly delayMs: number;
      /** Why, where the server said so: it is full, or restarts. */
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
}

const SILENCE_MS = 60_000;

export interface ConnectionListener {
  onState(state: ConnectionState): void;
  onMessage(message: ServerMessage): void;
}

export class Connection {
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
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

  #drop(): void {
    clearTimeout(this.#timer);
    this.#heard();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #connect(): void {
    this.#drop();
    this.#reason = null;
    this.#enter({ status: "connecting", attempt: this.#attempt });
    const Socket = this.options.WebSocket ?? WebSocket;
    const socket = new Socket(this.options.url, SUBPROTOCOL);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    const { token, client } = this.options;
    socket.onopen = () => socket.send(pack({ type: "hello", token, client }));
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
    socket.onerror = () => {}; // a close with its code always follows
  }

  #heard(): void {
    clearTimeout(this.#watchdog);
    this.#watchdog = undefined;
  }

  /** A network that vanished does not always end its sockets. */
  #silent(): void {
    this.#drop();
    this.#retry(null);
  }

  #receive(data: unknown): void {
    this.#heard();
    const message = data instanceof ArrayBuffer ? unpack(data) : null;
    if (!message) return;
    if (message.type === "welcome") {
      this.#attempt = 0;
      this.#enter({ status: "online", welcome: message });
    } else if (message.type === "error" && message.id === undefined) {
      this.#reason = SamwireError.from(message);
    }
    this.listener.onMessage(message);
  }

  #closed(code: number, text: string): void {
    this.#heard();
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
