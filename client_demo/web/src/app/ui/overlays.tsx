/** What lies over the stage: the way in, progress, failures, notices. */
import type { JSX, RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { PictureStatus } from "../state/model.ts";
import { currentPicture } from "../state/pictures.ts";
import { SAMPLES, sampleUrl } from "../work/intake.ts";
import { counted } from "../work/notices.ts";
import { useDesk } from "./desk.ts";
import { Icon, IconButton, leaveFocus } from "./icons.tsx";
import { useRemoval } from "./removal.tsx";
import { useStore } from "./use-store.ts";

export function Welcome(): JSX.Element | null {
  const { context, intake, restoring } = useDesk();
  const { pictures } = useStore(context.state);
  const isRestoring = useStore(restoring);
  const isEmpty = pictures.length === 0;
  const choose = useFocusOnceEmptied(isEmpty);
  if (!isEmpty) return null;
  if (isRestoring) return <p class="welcome">Bringing back your pictures</p>;
  return (
    <div class="welcome">
      <div class="welcome-text">
        <h2>Point at anything. It is selected.</h2>
        <p class="for-mice">Drop a photo anywhere on this page, or paste one.</p>
        <p class="for-fingers">Open a photo, then tap what you want.</p>
        <div class="welcome-buttons">
          <button ref={choose} type="button" class="button primary" onClick={() => intake.pick()}>
            Choose photos
          </button>
          <button type="button" class="button camera" onClick={() => intake.photograph()}>
            <Icon name="camera" /> Take a photo
          </button>
        </div>
      </div>
      <div class="samples">
        <p>Or try one of these</p>
        <ul>
          {SAMPLES.map((sample) => (
            <li key={sample.file}>
              <button type="button" onClick={() => void intake.openSample(sample)}>
                <img src={sampleUrl(sample, true)} alt="" width="320" height="240" />
                <span>{sample.title}</span>
              </button>
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}

/** The focus may go with the last picture; a page just opened takes it from nobody. */
function useFocusOnceEmptied(isEmpty: boolean): RefObject<HTMLButtonElement | null> {
  const target = useRef<HTMLButtonElement>(null);
  const wasEmpty = useRef(true);
  useEffect(() => {
    const emptied = isEmpty && !wasEmpty.current;
    if (emptied && document.activeElement === document.body) target.current?.focus();
    wasEmpty.current = isEmpty;
  }, [isEmpty]);
  return target;
}

export function DropTarget(): JSX.Element | null {
  const dragging = useStore(useDesk().intake.dragging);
  return dragging ? (
    <div class="drop-target">
      <p>Drop to open</p>
    </div>
  ) : null;
}

const STAGES: Record<string, string> = {
  connect: "Connecting",
  upload: "Uploading",
  waiting: "Waiting for a free place",
  download: "Fetching",
  decode: "Reading the picture",
  encode: "Looking at the picture",
};

export function Progress(): JSX.Element | null {
  const { context, gallery } = useDesk();
  const { remove, question } = useRemoval();
  const picture = currentPicture(useStore(context.state));
  const status = picture?.status;
  if (status?.kind === "failed") {
    return (
      <>
        <div class="card failure" role="alert">
          <div>
            <h2 title={picture!.name}>{picture!.name}</h2>
            <p>{status.message}</p>
          </div>
          <div class="failure-buttons">
            <button type="button" class="button" onClick={() => gallery.retry()}>
              Try again
            </button>
            <button type="button" class="button quiet" onClick={() => remove(picture!)}>
              Remove picture
            </button>
          </div>
        </div>
        {question}
      </>
    );
  }
  return status?.kind === "opening" ? <Opening status={status} /> : null;
}

type OpeningStatus = Extract<PictureStatus, { kind: "opening" }>;

function Opening({ status }: { status: OpeningStatus }): JSX.Element {
  const { stage, fraction, ahead } = status;
  return (
    <div class="progress" role="status">
      <span>
        {STAGES[stage] ?? "Opening"}
        {ahead > 0 && ` · ${counted(ahead, "picture")} first`}
      </span>
      <progress value={fraction ?? undefined} max={1} aria-label="Opening the picture" />
    </div>
  );
}

export function ExportProgress(): JSX.Element | null {
  const { exchange } = useDesk();
  const fraction = useStore(exchange.progress);
  if (fraction === null) return null;
  return (
    <div class="progress exporting" role="status">
      <span>Making the files</span>
      <progress value={fraction} max={1} aria-label="Making the files" />
      <button type="button" class="link" onMouseDown={leaveFocus} onClick={() => exchange.cancel()}>
        Cancel
      </button>
    </div>
  );
}

export function NoticeList(): JSX.Element {
  const { context } = useDesk();
  const notices = useStore(context.notices.list);
  return (
    <div class="notices" aria-live="polite">
      {notices.map(({ id, kind, text }) => (
        <div
          key={id}
          class="card notice"
          data-kind={kind}
          role={kind === "problem" ? "alert" : undefined}
        >
          <p>{text}</p>
          <IconButton icon="close" label="Dismiss" onClick={() => context.notices.dismiss(id)} />
        </div>
      ))}
    </div>
  );
}
