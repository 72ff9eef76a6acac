/** Help and export, as dialogs the browser itself keeps focus in. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { ExportKind } from "../export/files.ts";
import { SHORTCUTS } from "../input/shortcuts.ts";
import { useDesk } from "./desk.ts";
import { Icon, IconButton } from "./icons.tsx";
import { useStore } from "./use-store.ts";

export function Sheets(): JSX.Element | null {
  const { sheet } = useStore(useDesk().context.state);
  if (sheet === "help") return <HelpSheet />;
  return sheet === "export" ? <ExportSheet /> : null;
}

function Sheet({ title, children }: { title: string; children: ComponentChildren }): JSX.Element {
  const { context, stage } = useDesk();
  const dialog = useRef<HTMLDialogElement>(null);
  const close = () => context.state.update((now) => ({ ...now, sheet: null }));
  useEffect(() => {
    dialog.current?.showModal();
    return () => stage.root.focus({ preventScroll: true });
  }, [stage]);
  return (
    <dialog
      ref={dialog}
      class="sheet"
      aria-label={title}
      onClose={close}
      onClick={(event) => event.target === dialog.current && close()}
      onKeyDown={(event) => event.key === "?" && close()}
    >
      <div class="sheet-head">
        <h2>{title}</h2>
        <IconButton icon="close" label="Close" onClick={close} />
      </div>
      {children}
    </dialog>
  );
}

function HelpSheet(): JSX.Element {
  return (
    <Sheet title="Help">
      <div class="gestures">
        <p class="for-fingers">
          <b>Tap</b> what belongs to the object, <b>hold</b> a finger on what does not. <b>Drag</b>{" "}
          a box around it. <b>Two fingers</b> move and zoom. Points and corners can be dragged; hold
          one to remove it.
        </p>
        <p class="for-mice">
          <b>Click</b> what belongs to the object, <b>right-click</b> (or Alt-click, or a long
          press) what does not. <b>Drag</b> a box around it. Points and corners can be dragged;
          Delete, a right-click or a long press removes them.
        </p>
        <p class="for-mice">
          <b>Wheel</b> or <b>pinch</b> zooms; <b>Space-drag</b>, the right button or two fingers
          move the picture. Arrow keys move a crosshair (Shift: faster), 1 to 9 give the nth name.
        </p>
      </div>
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
    </Sheet>
  );
}

function readable(key: string): string {
  const apple = /Mac|iP(hone|ad)/.test(navigator.userAgent);
  return key
    .split("+")
    .map((part) => part || "+")
    .filter((part, index, all) => part !== "+" || all.length === 1 || index === 0)
    .map((part) => (part === "mod" ? (apple ? "⌘" : "Ctrl") : part === "shift" ? "Shift" : part))
    .map((part) => (part.length === 1 ? part.toUpperCase() : part))
    .join(" ");
}

const KINDS: readonly (readonly [ExportKind, string, string])[] = [
  ["coco", "COCO JSON", "Annotations with categories; pycocotools opens it"],
  ["masks", "PNG masks", "One black and white picture an object"],
  ["indexed", "Indexed PNG", "All objects in one picture, a colour each"],
  ["cutouts", "Cut-outs", "Each object on a transparent background"],
  ["polygons", "Polygons", "GeoJSON with holes and parts, in pixels"],
];

function ExportSheet(): JSX.Element {
  const { context, exchange } = useDesk();
  const subjects = exchange.subjects();
  const count = subjects.reduce((sum, { objects }) => sum + objects.length, 0);
  const unnamed = subjects.flatMap(({ objects }) => objects).filter(({ label }) => !label).length;
  const save = (kind: ExportKind) => {
    context.state.update((now) => ({ ...now, sheet: null }));
    void exchange.save(kind);
  };
  return (
    <Sheet title="Export">
      <p class="sheet-note">
        {count === 0
          ? "There is nothing to export yet. Click an object first."
          : `${plural(count, "object")} in ${plural(subjects.length, "picture")}${
              unnamed > 0 ? `; ${unnamed} without a name will be called “object”` : ""
            }. Files are made here, in the browser.`}
      </p>
      <ul class="export-kinds">
        {KINDS.map(([kind, title, what]) => (
          <li key={kind}>
            <button type="button" disabled={count === 0} onClick={() => save(kind)}>
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

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
