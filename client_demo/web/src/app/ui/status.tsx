/** The bottom line: are we connected, what is shown, how fast is it. */
import type { JSX } from "preact";
import { currentPicture } from "../state/pictures.ts";
import { useDesk } from "./desk.ts";
import { leaveFocus } from "./icons.tsx";
import { useStore } from "./use-store.ts";
import { sayConnection } from "./words.ts";

export function StatusBar(): JSX.Element {
  return (
    <footer class="status">
      <Connection />
      <PictureFacts />
      <Latency />
    </footer>
  );
}

function Connection(): JSX.Element {
  const { connection, context } = useDesk();
  const state = useStore(connection);
  const resting = state.status === "waiting" || state.status === "asleep";
  return (
    <div class="connection" role="status" data-status={state.status}>
      <span class="dot" aria-hidden="true" />
      <span>{sayConnection(state)}</span>
      {resting && (
        <button type="button" class="link" onClick={() => context.client.wake()}>
          Connect now
        </button>
      )}
      {state.status === "stopped" && (
        <button type="button" class="link" onClick={() => location.reload()}>
          Reload
        </button>
      )}
    </div>
  );
}

function PictureFacts(): JSX.Element | null {
  const state = useStore(useDesk().context.state);
  const picture = currentPicture(state);
  if (!picture?.size) return null;
  const { width, height } = picture.size;
  const { pictures } = state;
  return (
    <div class="facts">
      <span class="file-name" title={picture.name}>
        {picture.name}
      </span>
      <span>
        {width} × {height}
      </span>
      {pictures.length > 1 && (
        <span class="place">
          {pictures.indexOf(picture) + 1} of {pictures.length}
        </span>
      )}
    </div>
  );
}

function Latency(): JSX.Element | null {
  const reading = useStore(useDesk().context.latency.reading);
  if (!reading) return null;
  const ms = (value: number) => `${Math.round(value)} ms`;
  const { lastMs, medianMs, p95Ms, queueMs, decodeMs, networkMs } = reading;
  return (
    <>
      <button
        type="button"
        class="latency"
        popovertarget="timings"
        title="From asking to having the mask"
        onMouseDown={leaveFocus}
      >
        <b>{ms(lastMs)}</b>
        <span class="wide">
          median {ms(medianMs)} · p95 {ms(p95Ms)}
        </span>
      </button>
      <dl class="card timings" id="timings" popover="auto">
        <Figure name="Median" value={ms(medianMs)} />
        <Figure name="95th percentile" value={ms(p95Ms)} />
        <Figure name="Last" value={ms(lastMs)} />
        <Figure name="— in the queue" value={ms(queueMs)} />
        <Figure name="— decoding" value={ms(decodeMs)} />
        <Figure name="— network" value={ms(networkMs)} />
      </dl>
    </>
  );
}

function Figure({ name, value }: { name: string; value: string }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
