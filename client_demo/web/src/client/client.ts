/**
 * samwire's browser client: open an image, then ask for masks by points, boxes and hovers.
 *
 * It hides that connections end. Requests made while one is being re-established wait for it;
 * those lost with it reject with `connection_lost`; the image is reopened by digest, and objects
 * are refined from the masks the client still has.
 */
import { Connection, type ConnectionOptions, type ConnectionState } from "./connection.ts";
import { misanswered, SamwireError } from "./errors.ts";
import { Latest } from "./latest.ts";
import { asPrior, ObjectMemory, type Prior, type Prompts } from "./memory.ts";
import {
  MAX_PRIOR_BYTES,
  type MaskReply,
  type Opened,
  type Segment,
  type ServerMessage,
  type Superseded,
  type Welcome,
} from "./messages.ts";
import { tell } from "./observers.ts";
import { digest, type OnProgress, Opening, type Picture, superseded } from "./opening.ts";
import { Requests } from "./requests.ts";

/** What a callback raises breaks nothing: it is told as any uncaught error is. */
export interface ClientOptions extends Omit<ConnectionOptions, "url"> {
  /** Default: `/v1/ws` of the server the page came from. */
  readonly url?: string;
  readonly onState?: (state: ConnectionState) => void;
  /** Every mask, with the time from asking to having it, but for those whose image was still opening. */
  readonly onTiming?: (kind: "click" | "hover", totalMs: number, reply: MaskReply) => void;
  /** The open image had to be opened again and that failed: nothing is open now. */
  readonly onImageLost?: (error: SamwireError) => void;
  /** The open image had to be opened again, and is; its `onProgress` heard of it meanwhile. */
  readonly onImageBack?: (opened: Opened) => void;
}

export interface SegmentRequest extends Prompts {
  readonly object?: number;
  readonly candidates?: boolean;
  readonly prior?: Prior;
  readonly signal?: AbortSignal;
}

export type HoverRequest = Omit<SegmentRequest, "candidates" | "signal">;

/** Start connecting. */
export function connect(options: ClientOptions = {}): SamwireClient {
  return new SamwireClient(options);
}

export class SamwireClient {
  readonly #connection: Connection;
  readonly #requests = new Requests();
  readonly #memory = new ObjectMemory();
  readonly #hovers: Latest<HoverRequest, MaskReply | Superseded>;
  #lastId = 0;
  #image: Opening | null = null;
  /** A picture on its way to being opened: fetched, digested. */
  #coming: Promise<Picture> | null = null;
  /** Grows when an image is left: what was asked in an earlier one is about another picture. */
  #era = 0;
  readonly #prefetches = new Set<Opening>();
  #onlineWaiters: { resolve: () => void; reject: (error: SamwireError) => void }[] = [];

  constructor(private readonly options: ClientOptions) {
    this.#connection = new Connection(
      { ...options, url: options.url ?? defaultUrl() },
      {
        onState: (state) => this.#onState(state),
        onMessage: (message) => this.#onMessage(message),
      },
    );
    this.#hovers = new Latest((request) => this.#segment(request, "hover"));
    this.#connection.wake();
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** What the server said of itself, while there is a connection. */
  get welcome(): Welcome | null {
    return this.state.status === "online" ? this.state.welcome : null;
  }

  get #maxPriorBytes(): number {
    return this.welcome?.limits.max_prior_bytes ?? MAX_PRIOR_BYTES;
  }

  /** Reconnect now rather than when the back-off ends: the user acted, or the network is back. */
  wake(): void {
    this.#connection.wake();
  }

  /**
   * Open an image in place of the last one; a string is a URL of the page's own. What `onProgress`
   * raises ends the open, which rejects with it.
   */
  async open(source: Blob | URL | string, onProgress?: OnProgress): Promise<Opened> {
    this.#leaveImage();
    const coming = pictureOf(source);
    this.#coming = coming;
    const picture = await coming.catch((error) => this.#missed(coming, error));
    if (this.#coming !== coming) throw superseded();
    this.#coming = null;
    const opened = await this.#start(picture, onProgress).result;
    return opened!; // only a prefetch is done without
  }

  /** Have the server encode an image before it is opened; quietly nothing where it cannot. */
  async prefetch(source: Blob | URL | string): Promise<void> {
    const picture = await pictureOf(source);
    await this.#online();
    if (!this.welcome?.features.includes("prefetch")) return;
    const opening = new Opening(picture, true);
    this.#prefetches.add(opening);
    opening.start(this.#connection, this.#nextId());
    await opening.result.finally(() => this.#prefetches.delete(opening));
  }

  /**
   * The mask of one object's whole prompt set. `superseded`: a newer one of the object overtook it,
   * or the image was left before it could be asked. Rejects with a `SamwireError`.
   */
  async segment(request: SegmentRequest): Promise<MaskReply | Superseded> {
    const era = this.#era;
    try {
      return await this.#click(request, era);
    } catch (error) {
      const gone = error instanceof SamwireError && error.code === "prior_gone";
      if (!gone || !request.prior || !("mask" in request.prior)) throw error;
      const { mask, candidate } = request.prior;
      const known = asPrior(mask, candidate ?? 0, this.#maxPriorBytes);
      return this.#click({ ...request, prior: known }, era);
    }
  }

  /** What a click would give. Null when a newer hover, or none at all, took its place. */
  async hover(request: HoverRequest): Promise<MaskReply | null> {
    if (this.state.status !== "online" || this.#coming) return null;
    const era = this.#era;
    const reply = await this.#hovers.push(request);
    return reply?.type === "mask" && era === this.#era ? reply : null;
  }

  /** No hover is wanted any more. */
  cancelHover(): void {
    this.#hovers.drop();
  }

  /** Forget an object: here and on the server. */
  release(object: number): void {
    this.#memory.forget(object);
    this.#connection.send({ type: "release", object });
  }

  /** Free the image on the server; the connection stays. */
  async close(): Promise<void> {
    this.#leaveImage();
    const id = this.#nextId();
    if (this.#connection.send({ type: "close", id })) await this.#requests.wait(id, "close");
  }

  /** End for good. */
  disconnect(): void {
    this.#connection.close();
  }

  async #click(request: SegmentRequest, era: number): Promise<MaskReply | Superseded> {
    await this.#coming?.catch(() => {}); // what is asked after an open is about its image
    await this.#online();
    if (era !== this.#era || request.signal?.aborted) {
      return { type: "superseded", id: this.#nextId() };
    }
    const reply = await this.#segment(request, "click", request.signal);
    // An answer that crossed the next open is a mask all the same, but no prior for that picture.
    if (reply.type === "mask" && era === this.#era) {
      this.#memory.remember(request.object ?? 0, request, reply);
    }
    return reply;
  }

  async #segment(
    request: HoverRequest & { candidates?: boolean },
    kind: "click" | "hover",
    signal?: AbortSignal,
  ): Promise<MaskReply | Superseded> {
    const { object = 0, points, box, candidates, prior } = request;
    const id = this.#nextId();
    const known = this.#memory.resolve(object, request, prior, {
      since: this.#image?.id ?? 0,
      maxPriorBytes: this.#maxPriorBytes,
    });
    const message: Segment = { type: "segment", id, object, points, box, kind, candidates };
    const sent = performance.now();
    const image = this.#image;
    const isOpen = !!image?.opened;
    const waiting = this.#requests.wait(id, kind);
    const abort = () => this.#cancel(id);
    signal?.addEventListener("abort", abort, { once: true });
    this.#connection.send(known === undefined ? message : { ...message, prior: known });
    const reply = await waiting.finally(() => signal?.removeEventListener("abort", abort));
    if (reply.type !== "mask") return reply as Superseded;
    const totalMs = performance.now() - sent;
    if (image?.opened) refuseOtherSize(reply, image.opened);
    else if (image === this.#image) throw misanswered("The server's mask is of no open image.");
    else return { type: "superseded", id }; // left before we heard of its size
    if (isOpen) tell(() => this.options.onTiming?.(kind, totalMs, reply));
    return reply;
  }

  #cancel(target: number): void {
    this.#connection.send({ type: "cancel", target });
    this.#requests.abandon(target);
  }

  #leaveImage(): void {
    this.#era += 1;
    this.#image?.fail(superseded());
    this.#image = null;
    this.#coming = null;
    this.#hovers.drop();
    this.#memory.clear();
  }

  #missed(coming: Promise<Picture>, error: unknown): never {
    if (this.#coming === coming) this.#coming = null;
    throw error;
  }

  #start(picture: Picture, onProgress?: OnProgress): Opening {
    const opening = new Opening(picture, false, onProgress);
    this.#image = opening;
    if (this.state.status === "online") opening.start(this.#connection, this.#nextId());
    else if (this.state.status === "stopped") opening.fail(this.state.error);
    else this.#connection.wake();
    return opening;
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  async #online(): Promise<void> {
    if (this.state.status === "online") return;
    if (this.state.status === "stopped") throw this.state.error;
    await new Promise<void>((resolve, reject) => {
      this.#onlineWaiters.push({ resolve, reject });
      this.#connection.wake();
    });
  }

  #onState(state: ConnectionState): void {
    if (state.status === "online") this.#resume();
    else if (state.status !== "connecting") this.#interrupt(state);
    tell(() => this.options.onState?.(state));
  }

  /** A fresh connection: the image first, then whoever waited. */
  #resume(): void {
    if (this.#image) this.#reopen(this.#image);
    for (const opening of this.#prefetches) opening.start(this.#connection, this.#nextId());
    for (const { resolve } of this.#onlineWaiters.splice(0)) resolve();
  }

  #reopen(image: Opening): void {
    if (image.finished && !image.opened) return; // it failed
    const again = image.finished ? new Opening(image.picture, false, image.onProgress) : image;
    this.#image = again;
    again.start(this.#connection, this.#nextId());
    if (again !== image) this.#tellOfReopen(again);
  }

  #tellOfReopen(again: Opening): void {
    again.result.then(
      (opened) => {
        if (this.#image === again) tell(() => this.options.onImageBack?.(opened!));
      },
      (error) => {
        if (this.#image === again) tell(() => this.options.onImageLost?.(ours(error)));
      },
    );
  }

  #interrupt(state: ConnectionState): void {
    this.#hovers.drop();
    if (state.status === "stopped") this.#stop(state.error);
    else this.#requests.failAll(lost());
  }

  #stop(error: SamwireError): void {
    this.#requests.failAll(error);
    for (const { reject } of this.#onlineWaiters.splice(0)) reject(error);
    for (const opening of [this.#image, ...this.#prefetches]) {
      if (opening && !opening.finished) opening.fail(error);
    }
  }

  #onMessage(message: ServerMessage): void {
    const id = "id" in message ? message.id : undefined;
    const opening = [this.#image, ...this.#prefetches].find((one) => one?.id === id);
    if (opening) opening.receive(message, this.#connection);
    else this.#requests.settle(message);
  }
}

/** Whoever expands a mask trusts its size: a few bytes can stand for gigabytes. */
function refuseOtherSize(reply: MaskReply, { width, height }: Opened): void {
  for (const { rle } of [reply, ...(reply.candidates ?? [])]) {
    const [tall, wide] = rle.size;
    if (tall === height && wide === width) continue;
    throw misanswered(`The server's mask is ${wide} x ${tall}, the image ${width} x ${height}.`);
  }
}

/** What ended an open, which may be what its `onProgress` raised. */
function ours(error: unknown): SamwireError {
  if (error instanceof SamwireError) return error;
  return new SamwireError("not_open", `The image was given up, since onProgress raised: ${error}`);
}

function lost(): SamwireError {
  return new SamwireError("connection_lost", "The connection ended before the reply.");
}

function defaultUrl(): string {
  const url = new URL("/v1/ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

async function pictureOf(source: Blob | URL | string): Promise<Picture> {
  const blob = source instanceof Blob ? source : await fetchBlob(source);
  return { blob, sha256: await digest(blob) };
}

async function fetchBlob(url: URL | string): Promise<Blob> {
  try {
    const response = await fetch(url);
    if (response.ok) return await response.blob();
  } catch {
    // fall through: the network's own words tell a reader nothing
  }
  throw new SamwireError("unreachable", `Could not fetch ${url}.`);
}
