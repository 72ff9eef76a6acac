/** What the page's working parts share; made once, in `main.tsx`. */
import type { MaskWorker, SamwireClient } from "../../client/index.ts";
import type { Traced } from "../../client/rle/jobs.ts";
import type { Box, ImagePoint } from "../geometry/points.ts";
import { MaskBook } from "../state/masks.ts";
import { INITIAL, type State } from "../state/model.ts";
import { Store } from "../state/store.ts";
import type { Latency } from "./latency.ts";
import type { Notices } from "./notices.ts";

/** What follows the pointer: gone with the next move, so no part of the state. */
export interface Live {
  readonly hover: { readonly traced: Traced; readonly excludes: boolean } | null;
  readonly box: Box | null;
  readonly stroke: { readonly object: number; readonly traced: Traced } | null;
  readonly pointer: ImagePoint | null;
  /** The object that is pointed at: in the list, or on the picture by who means to select one. */
  readonly pointed: number | null;
  /** Where the keyboard points. */
  readonly crosshair: ImagePoint | null;
}

export const NOTHING_LIVE: Live = {
  hover: null,
  box: null,
  stroke: null,
  pointer: null,
  pointed: null,
  crosshair: null,
};

export class Context {
  readonly state = new Store<State>(INITIAL);
  readonly live = new Store<Live>(NOTHING_LIVE);
  readonly book = new MaskBook();
  /** Grows when a mask arrives: the book itself changes in place. */
  readonly masksVersion = new Store(0);
  /** The pictures themselves, by key. */
  readonly blobs = new Map<string, Blob>();

  constructor(
    readonly client: SamwireClient,
    readonly worker: MaskWorker,
    readonly notices: Notices,
    readonly latency: Latency,
  ) {}

  point(pointed: number | null): void {
    this.live.update((now) => (now.pointed === pointed ? now : { ...now, pointed }));
  }

  masksChanged(): void {
    this.masksVersion.update((version) => version + 1);
  }
}
