/** Help, export and the one question, as dialogs the browser itself keeps focus in. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { ExportKind } from "../export/files.ts";
import { readable, SHORTCUTS } from "../input/shortcuts.ts";
import type { Picture } from "../state/model.ts";
import { counted } from "../work/notices.ts";
import { useDesk } from "./desk.ts";
import { Icon, IconButton } from "./icons.tsx";
import { useStore } from "./use-store.ts";

export function Sheets(): JSX.Element | null {
  const { context } = useDesk();
  const { sheet } = useStore(context.state);
  const close = () => context.state.update((now) => ({ ...now, sheet: null }));
  if (sheet === "help") return <HelpSheet onClose={close} />;
  return sheet === "export" ? <ExportSheet onClose={close} /> : null;
}

interface SheetProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}

type Closable = Pick<SheetProps, "onClose">;

function Sheet({ title, onClose, children }: SheetProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const opened = dialog.current!;
    opened.showModal();
    // The browser then hands the focus back to where it came from.
    return () => opened.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="sheet"
      aria-label={title}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && onClose()}
      onKeyDown={(event) => event.key === "?" && onClose()}
    >
      <div class="sheet-head">
        <h2>{title}</h2>
        <IconButton icon="close" label="Close" onClick={onClose} />
      </div>
      {children}
    </dialog>
  );
}

function HelpSheet({ onClose }: Closable): JSX.Element {
  const byTouch = matchMedia("(hover: none)").matches;
  return (
    <Sheet title="Help" onClose={onClose}>
      {byTouch ? <Fingers /> : <Mouse />}
      {byTouch ? (
        <details class="keys">
          <summary>With a keyboard</summary>
          <Keys />
        </details>
      ) : (
        <Keys />
      )}
      <p class="sheet-foot">
        samwire is open source under Apache-2.0. <Notices />
      </p>
    </Sheet>
  );
}

/** What the build collects of the packages that are in the page. */
function Notices(): JSX.Element {
  return (
    <a href="third-party-notices.txt" target="_blank" rel="noopener">
      Third-party notices
    </a>
  );
}

function Mouse(): JSX.Element {
  return (
    <div class="gestures">
      <p>
        <b>Click</b> what belongs to the object, <b>right-click</b> or Alt-click what does not; hold
        a pen on it. <b>Drag</b> a box around it. Points and corners can be dragged; Delete or a
        right-click removes them.
      </p>
      <p>
        <b>Wheel</b> or <b>pinch</b> zooms; <b>Space-drag</b>, the right button or two fingers move
        the picture. 1 to 9 give the nth name.
      </p>
      <p>
        <b>Arrow keys</b> move a crosshair (Shift: faster). From then on Tab goes to the next
        button, and C shows the next candidate.
      </p>
    </div>
  );
}

const TOUCHES: readonly (readonly [string, string])[] = [
  ["Tap", "Add what is under the finger"],
  ["Hold", "Take away what is under the finger"],
  ["−", "The next taps take away, until + or Keep"],
  ["Drag", "Draw a box around the object"],
  ["‹ ›", "Another candidate for the same taps"],
  ["Keep", "Done; the next tap begins another object"],
  ["Drag a point", "Move it"],
  ["Hold a point", "Remove it"],
  ["Two fingers", "Zoom and move the picture"],
];

function Fingers(): JSX.Element {
  return (
    <dl class="touches">
      {TOUCHES.map(([touch, meaning]) => (
        <div key={touch}>
          <dt>{touch}</dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  );
}

function Keys(): JSX.Element {
  return (
    <>
      <Digits />
      <div class="shortcut-groups">
        {SHORTCUTS.map(({ title, shortcuts }) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {shortcuts.map(({ command, keys, help }) => (
                <div key={command}>
                  <dt>{help}</dt>
                  <dd>
                    {keys.slice(0, 2).map((key) => (
                      <kbd key={key}>{readable(key)}</kbd>
                    ))}
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </>
  );
}

/** Which digit gives which name. */
function Digits(): JSX.Element | null {
  const { classes } = useStore(useDesk().context.state);
  if (classes.length === 0) return null;
  return (
    <ul class="digits" aria-label="Names by digit">
      {classes.slice(0, 9).map((name, index) => (
        <li key={name}>
          <kbd>{index + 1}</kbd> {name}
        </li>
      ))}
    </ul>
  );
}

const KINDS: readonly (readonly [ExportKind, string, string])[] = [
  ["coco", "COCO JSON", "Annotations with categories; pycocotools opens it"],
  ["masks", "PNG masks", "One black and white picture an object"],
  ["indexed", "Indexed PNG", "All objects in one picture, a colour each"],
  ["cutouts", "Cut-outs", "Each object on a transparent background"],
  ["polygons", "Polygons", "GeoJSON with holes and parts, in pixels"],
];

function ExportSheet({ onClose }: Closable): JSX.Element {
  const { exchange } = useDesk();
  const subjects = exchange.subjects();
  const count = subjects.reduce((sum, { objects }) => sum + objects.length, 0);
  const unnamed = subjects.flatMap(({ objects }) => objects).filter(({ label }) => !label).length;
  const save = (kind: ExportKind) => {
    onClose();
    void exchange.save(kind);
  };
  return (
    <Sheet title="Export" onClose={onClose}>
      <p class="sheet-note">
        {count === 0
          ? "There is nothing to export yet. Click an object first."
          : `${counted(count, "object")} in ${counted(subjects.length, "picture")}${
              unnamed > 0 ? `; ${unnamed} without a name will be called “object”` : ""
            }. Files are made here, in the browser.`}
      </p>
      <ul class="export-kinds">
        {KINDS.map(([kind, title, what], index) => (
          <li key={kind}>
            <button
              type="button"
              autofocus={index === 0}
              disabled={count === 0}
              onClick={() => save(kind)}
            >
              <Icon name="download" />
              <span>
                <b>{title}</b>
                <small>{what}</small>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </Sheet>
  );
}

interface QuestionProps extends Closable {
  readonly picture: Picture;
  readonly onRemove: () => void;
}

/** No undo brings a picture back, so what was made of it is not thrown away by a slip. */
export function RemoveQuestion({ picture, onClose, onRemove }: QuestionProps): JSX.Element {
  const count = counted(picture.history.present.objects.length, "object");
  return (
    <Sheet title={`Remove ${picture.name} and its ${count}?`} onClose={onClose}>
      <p class="sheet-note">They cannot be brought back.</p>
      <div class="answers">
        <button type="button" class="button" autofocus onClick={onClose}>
          Keep
        </button>
        <button type="button" class="button danger" onClick={onRemove}>
          Remove
        </button>
      </div>
    </Sheet>
  );
}
