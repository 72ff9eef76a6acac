/** Line icons, drawn for this page on a grid of 20. */
import type { JSX } from "preact";
import { endTyping } from "../input/typing.ts";

const PATHS = {
  segment:
    "M17.1 11.3L16 13.6M14 15.5L11.5 16.5M8.5 16.5L6 15.5M4 13.6L2.9 11.3M2.9 8.7L4 6.4M6 4.5L8.5 3.5M11.5 3.5L14 4.5M16 6.4L17.1 8.7M10 11.6a1.6 1.6 0 100-3.2 1.6 1.6 0 000 3.2z",
  brush:
    "M16.5 3.5c-4 2-7 5-8.5 8l1.5 1.5c3-1.5 6-4.5 8-8.5zM7 12.5c-2 0-2.5 1.5-2.5 3-.5.8-1.5 1-1.5 1 3 1 6 .5 6-2z",
  eraser: "M7.5 16.5h9M3.5 12l8-8 5 5-7.5 7.5h-2zM7.5 8l5 5",
  select: "M4 3l5.5 13 1.9-5.6L17 8.5zM12.5 12.5L17 17",
  hand: "M10 3v14M3 10h14M10 3L8 5M10 3l2 2M10 17l-2-2M10 17l2-2M3 10l2-2M3 10l2 2M17 10l-2-2M17 10l-2 2",
  undo: "M8 5L4 9l4 4M4 9h7.5a4 4 0 010 8H10",
  redo: "M12 5l4 4-4 4M16 9H8.5a4 4 0 000 8H10",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  fit: "M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4M7 7h6v6H7z",
  eye: "M2.5 10S5.5 4.8 10 4.8 17.5 10 17.5 10 14.5 15.2 10 15.2 2.5 10 2.5 10zM10 12.3a2.3 2.3 0 100-4.6 2.3 2.3 0 000 4.6z",
  eyeOff:
    "M3 3l14 14M8 5.1c.6-.2 1.3-.3 2-.3 4.5 0 7.5 5.2 7.5 5.2a14 14 0 01-2.2 2.8M12.3 14.900c-.7.2-1.5.3-2.3.3-4.5 0-7.5-5.2-7.5-5.2a14 14 0 013.2-3.6",
  trash: "M4 6h12M8 6V4h4v2M5.5 6l.8 10h7.400l.8-10M8.5 9v4.5M11.5 9v4.5",
  check: "M4 10.5l4 4 8-9",
  close: "M5 5l10 10M15 5L5 15",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  download: "M10 3v9M6 9l4 4 4-4M4 16.5h12",
  upload: "M10 13V4M6 7.5L10 3.5l4 4M4 16.5h12",
  help: "M7.5 7.5a2.5 2.5 0 114 2c-.9.7-1.5 1.2-1.5 2.3M10 14.6v.1",
  sun: "M10 13.2a3.2 3.2 0 100-6.400 3.2 3.2 0 000 6.400zM10 2.5v1.700M10 15.8v1.700M2.5 10h1.700M15.8 10h1.700M4.700 4.700l1.2 1.2M14.1 14.1l1.2 1.2M4.700 15.3l1.2-1.2M14.1 5.900l1.2-1.2",
  moon: "M16.5 11.6A6.8 6.8 0 018.400 3.5a6.8 6.8 0 108.1 8.1z",
  auto: "M10 3a7 7 0 100 14zM10 3a7 7 0 010 14",
  camera: "M3 6.5h3l1.3-2h5.400l1.3 2h3v10H3zM10 13.8a2.8 2.8 0 100-5.6 2.8 2.8 0 000 5.6z",
  warning: "M10 3.5l7 12.5H3zM10 8.5v3.5M10 14v.1",
  objects: "M10 3l7 3.5-7 3.5-7-3.5zM3 10l7 3.5L17 10M3 13.5L10 17l7-3.5",
} as const;

/** A spot of an object's colour. */
export function Swatch({ color }: { color: string }): JSX.Element {
  return <span class="swatch" ref={(node) => node?.style.setProperty("--color", color)} />;
}

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

interface IconButtonProps {
  readonly icon: IconName;
  readonly label: string;
  readonly onClick: () => void;
  readonly hint?: string;
  readonly disabled?: boolean;
  readonly pressed?: boolean;
  readonly class?: string;
}

/**
 * For `onMouseDown`: a mouse leaves the keys with the picture, or Enter would press the button again.
 * Typing is over, though, and saved.
 */
export function leaveFocus(event: MouseEvent): void {
  event.preventDefault();
  endTyping();
}

/** A button that is only an icon: its name is for those who hear or hover. */
export function IconButton({ icon, label, hint, pressed, ...rest }: IconButtonProps): JSX.Element {
  return (
    <button
      {...rest}
      type="button"
      class={`icon-button ${rest.class ?? ""}`}
      aria-label={label}
      aria-pressed={pressed}
      title={hint ? `${label} (${hint})` : label}
      onMouseDown={leaveFocus}
    >
      <Icon name={icon} />
    </button>
  );
}
