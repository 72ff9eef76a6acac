/** What a close code asks of a client, and how long to wait before the next try. */

/** stop: say so and stay away; retry: with back-off; sleep: reconnect when the user next acts. */
export type AfterClose = "stop" | "retry" | "sleep";

const MAX_DELAY_MS = 30_000;

export function afterClose(code: number): AfterClose {
  if ([1002, 1003, 1009].includes(code) || (code >= 4000 && code < 4100)) return "stop";
  if (code === 1000 || (code >= 4200 && code < 4300)) return "sleep";
  return "retry";
}

/** A random 0-1 s, doubling with each failed attempt up to 30 s: a crowd does not return at once. */
export function backoffMs(attempt: number, random: () => number): number {
  return Math.min(MAX_DELAY_MS, random() * 1000 * 2 ** attempt);
}
