/** The bar on top: what the pointer does, where to look, where to go. */
import type { JSX } from "preact";
import { readable } from "../input/shortcuts.ts";
import type { Tool } from "../state/model.ts";
import { currentPicture, currentScene } from "../state/pictures.ts";
import { useDesk } from "./desk.ts";
import { IconButton, type IconName, leaveFocus } from "./icons.tsx";
import { nextTheme, type Theme } from "./theme.ts";
import { useStore } from "./use-store.ts";

const TOOLS: readonly (readonly [Tool, IconName, string, string])[] = [
  ["segment", "segment", "Click and box", "S"],
  ["brush", "brush", "Brush", "B"],
  ["eraser", "eraser", "Eraser", "E"],
  ["select", "select", "Select objects", "V"],
  ["hand", "hand", "Move the picture", "H"],
];

const THEME_ICONS: Record<Theme, IconName> = { system: "auto", light: "sun", dark: "moon" };

export function Header(): JSX.Element {
  return (
    <header class="header">
      <h1 class="brand">
        <svg class="brand-mark" viewBox="0 0 24 24" aria-hidden="true">
          <path d="M3 13c0-6 4-9.5 9-9.5s9 3.5 9 8-3 9-8.5 9S3 18 3 13z" />
          <circle cx="11" cy="11.5" r="2.6" />
        </svg>
        samwire
      </h1>
      <Tools />
      <div class="header-end">
        <Travel />
        <Zoom />
        <PanelButton />
        <ExportButton />
        <Corner />
      </div>
    </header>
  );
}

function Tools(): JSX.Element | null {
  const { context } = useDesk();
  const state = useStore(context.state);
  if (!state.current) return null;
  return (
    <div class="tools" role="toolbar" aria-label="Tools">
      {TOOLS.map(([tool, icon, label, hint]) => (
        <IconButton
          key={tool}
          icon={icon}
          label={label}
          hint={hint}
          pressed={state.tool === tool}
          onClick={() => context.state.update((now) => ({ ...now, tool }))}
        />
      ))}
    </div>
  );
}

function Travel(): JSX.Element | null {
  const { context, actions } = useDesk();
  const picture = currentPicture(useStore(context.state));
  if (!picture) return null;
  const { past, future } = picture.history;
  return (
    <div class="group">
      <IconButton
        icon="undo"
        label="Undo"
        hint={readable("mod+z")}
        disabled={past.length === 0}
        onClick={() => actions.undo()}
      />
      <IconButton
        icon="redo"
        label="Redo"
        hint={readable("mod+shift+z")}
        disabled={future.length === 0}
        onClick={() => actions.redo()}
      />
    </div>
  );
}

function Zoom(): JSX.Element | null {
  const { context, stage } = useDesk();
  const { scale } = useStore(stage.viewport);
  if (!currentPicture(useStore(context.state))?.size) return null;
  return (
    <div class="group zoom">
      <IconButton icon="minus" label="Zoom out" hint="-" onClick={() => stage.zoom(0.8)} />
      <button
        type="button"
        class="zoom-value"
        title="100 % (Z)"
        onMouseDown={leaveFocus}
        onClick={() => stage.actualSize()}
      >
        {Math.round(scale * devicePixelRatio * 100)} %
      </button>
      <IconButton icon="plus" label="Zoom in" hint="+" onClick={() => stage.zoom(1.25)} />
      <IconButton icon="fit" label="Fit the picture" hint="F" onClick={() => stage.fitPicture()} />
    </div>
  );
}

/** Only where the panel does not fit beside the picture. */
function PanelButton(): JSX.Element | null {
  const { context } = useDesk();
  const state = useStore(context.state);
  if (!state.current) return null;
  const count = currentScene(state).objects.length;
  return (
    <span class="panel-button">
      <IconButton
        icon="objects"
        label={`Objects (${count})`}
        pressed={state.panelOpen}
        onClick={() => context.state.update((now) => ({ ...now, panelOpen: !now.panelOpen }))}
      />
      {count > 0 && <span class="badge">{count}</span>}
    </span>
  );
}

function ExportButton(): JSX.Element | null {
  const { context } = useDesk();
  const state = useStore(context.state);
  if (!state.current) return null;
  return (
    <button
      type="button"
      class="button primary"
      onMouseDown={leaveFocus}
      onClick={() => context.state.update((now) => ({ ...now, sheet: "export" }))}
    >
      Export
    </button>
  );
}

function Corner(): JSX.Element {
  const { context, theme } = useDesk();
  const current = useStore(theme);
  return (
    <div class="group corner">
      <IconButton
        icon={THEME_ICONS[current]}
        label={`Theme: ${current}`}
        onClick={() => theme.update(nextTheme)}
      />
      <IconButton
        icon="help"
        label="Help"
        hint="?"
        onClick={() => context.state.update((now) => ({ ...now, sheet: "help" }))}
      />
    </div>
  );
}
