/** What can go wrong, by code; the server's codes and a few that only a client can know. */
import type { ErrorCode, Error as ErrorMessage } from "./messages.ts";

/**
 * connection_lost: the connection ended before the reply; ask again.
 * stopped: the server refused us for good, or `disconnect` was called.
 * superseded: an `open` was overtaken by another one.
 * unreachable: a URL given to `open` could not be fetched.
 * unreadable: a file given to `open` is no longer there, or not a file.
 */
export type LocalErrorCode =
  | "connection_lost"
  | "stopped"
  | "superseded"
  | "unreachable"
  | "unreadable";

export interface ErrorDetails {
  readonly field?: string | undefined;
  readonly fault?: ErrorMessage["fault"] | undefined;
  /** Seconds after which the same request may succeed. */
  readonly retryAfter?: number | undefined;
}

export class SamwireError extends Error {
  override name = "SamwireError";

  constructor(
    /** A code of the server's table, or one of ours; a newer server may know more. */
    readonly code: ErrorCode | LocalErrorCode | (string & {}),
    message: string,
    readonly details: ErrorDetails = {},
  ) {
    super(message);
  }

  static from(message: ErrorMessage): SamwireError {
    return new SamwireError(message.code, message.message, {
      field: message.field,
      fault: message.fault,
      retryAfter: message.retry_after,
    });
  }
}

/** An answer that cannot be one to what was asked. */
export function misanswered(message: string): SamwireError {
  return new SamwireError("internal", message, { fault: "server" });
}

export function ofAnotherKind(type: string): SamwireError {
  return misanswered(`The server's answer is of another kind: ${type}.`);
}
