/** Promises by request id, each settled by exactly one reply or by the end of its connection. */
import { ofAnotherKind, SamwireError } from "./errors.ts";
import type { Done, MaskReply, ServerMessage, Superseded } from "./messages.ts";

export type Reply = MaskReply | Done | Superseded;
type Kind = "click" | "hover" | "close";

interface Waiting {
  readonly kind: Kind;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: SamwireError) => void;
}

export class Requests {
  readonly #waiting = new Map<number, Waiting>();

  wait(id: number, kind: Kind): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { kind, resolve, reject });
    });
  }

  /** Settle whatever `message` answers. */
  settle(message: ServerMessage): void {
    switch (message.type) {
      case "error":
        if (message.id !== undefined) this.#take(message.id)?.reject(SamwireError.from(message));
        break;
      case "superseded":
        this.#take(message.id)?.resolve(message);
        break;
      case "mask":
      case "done":
      case "opened": {
        const asked = this.#take(message.id);
        const awaited = asked?.kind === "close" ? "done" : "mask";
        if (message.type === awaited) asked?.resolve(message);
        else asked?.reject(ofAnotherKind(message.type));
      }
    }
  }

  /** Answer in the server's place: the request is no longer wanted. */
  abandon(id: number): void {
    this.#take(id)?.resolve({ type: "superseded", id });
  }

  failAll(error: SamwireError): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }

  /** A reply to hover n settles every earlier hover: those get no reply of their own. */
  #take(id: number): Waiting | undefined {
    const taken = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (taken?.kind === "hover") {
      for (const [earlier, { kind }] of this.#waiting) {
        if (kind === "hover" && earlier < id) this.abandon(earlier);
      }
    }
    return taken;
  }
}
