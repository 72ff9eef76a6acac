/** Names, areas, masks and the connection as the page says them. */
import type { ConnectionState } from "../../client/index.ts";
import type { MaskBook } from "../state/masks.ts";
import type { Drawn } from "../state/model.ts";
import { sentence } from "../work/notices.ts";

export function nameOf({ label, id }: Pick<Drawn, "label" | "id">): string {
  return label || `Object ${id}`;
}

export function formatArea(pixels: number): string {
  if (pixels < 10_000) return `${pixels} px`;
  if (pixels < 1_000_000) return `${(pixels / 1000).toFixed(pixels < 100_000 ? 1 : 0)}k px`;
  return `${(pixels / 1_000_000).toFixed(2)}M px`;
}

/** How much a mask covers; of one that may yet come, that it is waited for. */
export function sayArea(object: Drawn, book: MaskBook): string {
  const shape = book.shown(object);
  if (shape) return formatArea(shape.traced.area);
  return book.isEmpty(object) ? "empty" : "…";
}

/** Nothing while it is still being asked for: the same words again would not be read out. */
export function sayMask(object: Drawn, book: MaskBook): string | null {
  const entry = book.get(object.revision);
  const shape = entry?.status === "ready" ? entry.shapes[object.chosen] : undefined;
  if (!entry || !shape) return null;
  const { score, traced } = shape;
  const said = [nameOf(object), formatArea(traced.area)];
  if (score !== null) said.push(`${Math.round(score * 100)} %`);
  if (entry.shapes.length > 1) said.push(`${object.chosen + 1} of ${entry.shapes.length}`);
  return said.join(", ");
}

/** Of these a visitor need not wonder whether the network is to blame. */
const SAID_BY_SERVER = new Set(["full", "restarting"]);

/** Whether what is asked now has to wait for a connection that failed to come back. */
export function isAway(state: ConnectionState): boolean {
  return state.status === "waiting" || (state.status === "connecting" && state.attempt > 0);
}

export function sayConnection(state: ConnectionState): string {
  switch (state.status) {
    case "online":
      return `Connected · model ${state.welcome.model.name}`;
    case "connecting":
      return "Connecting";
    case "waiting": {
      const said = state.reason && SAID_BY_SERVER.has(state.reason.code);
      return (said && sentence(state.reason)) || "Connection lost, trying again";
    }
    case "asleep":
      return "Resting; goes on with your next click";
    case "stopped":
      return sentence(state.error) ?? "Disconnected";
  }
}
