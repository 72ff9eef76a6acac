/** The objects of the picture, how they look, and the way in and out. */
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { shownColor } from "../state/colors.ts";
import type { Drawn, State } from "../state/model.ts";
import { currentScene } from "../state/pictures.ts";
import { useDesk } from "./desk.ts";
import { Icon, IconButton, leaveFocus, Swatch } from "./icons.tsx";
import { NameInput } from "./name-input.tsx";
import { useStore } from "./use-store.ts";
import { nameOf, sayArea } from "./words.ts";

export function Panel(): JSX.Element | null {
  const { context } = useDesk();
  useStore(context.masksVersion);
  const state = useStore(context.state);
  const { objects, active } = currentScene(state);
  if (!state.current) return null;
  return (
    <aside class="panel" aria-label="Objects" data-open={state.panelOpen}>
      <div class="panel-head">
        <h2>
          Objects <span class="count">{objects.length || ""}</span>
        </h2>
        <IconButton
          icon="close"
          label="Close the list"
          class="panel-close"
          onClick={() => context.state.update((now) => ({ ...now, panelOpen: false }))}
        />
      </div>
      {objects.length === 0 ? (
        <p class="panel-empty">
          Every object you click is listed here, to name, colour, hide or delete.
        </p>
      ) : (
        <ul class="objects">
          {objects.map((object) => (
            <Row
              key={object.id}
              object={object}
              active={object.id === active}
              color={shownColor(state, object)}
              own={state.colors === "object"}
            />
          ))}
        </ul>
      )}
      <Appearance />
    </aside>
  );
}

interface RowProps {
  readonly object: Drawn;
  readonly active: boolean;
  readonly color: string;
  /** Whether the colour is the object's own, to be changed here. */
  readonly own: boolean;
}

function Row({ object, active, color, own }: RowProps): JSX.Element {
  const { actions, context } = useDesk();
  const name = nameOf(object);
  const area = sayArea(object, context.book);
  const row = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (active) row.current?.scrollIntoView({ block: "nearest" });
  }, [active]);
  const select = () => actions.select(object.id);
  // The picture hears of a pointer that comes before the list hears that it left.
  const leave = () => context.live.get().pointed === object.id && context.point(null);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the name and the button in it do the same
    <li
      ref={row}
      class="object"
      data-active={active}
      onMouseEnter={() => context.point(object.id)}
      onMouseLeave={leave}
      onClick={({ target, currentTarget }) => target === currentTarget && select()}
    >
      {own ? (
        <input
          type="color"
          value={color}
          aria-label={`Colour of ${name}`}
          onChange={({ currentTarget: { value } }) => actions.change(object.id, { color: value })}
        />
      ) : (
        <Swatch color={color} />
      )}
      <NameInput object={object} placeholder={nameOf({ ...object, label: "" })} onFocus={select} />
      <button
        type="button"
        class="edit"
        aria-pressed={active}
        aria-label={`Edit ${name}, ${area}`}
        title="Edit this object"
        onMouseDown={leaveFocus}
        onClick={() => actions.select(active ? null : object.id)}
      >
        {area}
      </button>
      <IconButton
        icon={object.visible ? "eye" : "eyeOff"}
        label={object.visible ? `Hide ${name}` : `Show ${name}`}
        onClick={() => actions.change(object.id, { visible: !object.visible })}
      />
      <IconButton icon="trash" label={`Delete ${name}`} onClick={() => actions.remove(object.id)} />
    </li>
  );
}

function Appearance(): JSX.Element {
  const { context, intake } = useDesk();
  const { opacity, look, colors, classes } = useStore(context.state);
  const set = (change: Partial<State>) => context.state.update((now) => ({ ...now, ...change }));
  return (
    <div class="appearance">
      <label>
        Opacity
        <input
          type="range"
          min="0.1"
          max="0.9"
          step="0.05"
          value={opacity}
          onInput={({ currentTarget }) => set({ opacity: Number(currentTarget.value) })}
        />
      </label>
      <Choice
        what="Masks"
        options={{ fill: "Fill", outline: "Outline" }}
        chosen={look}
        onChoose={(one) => set({ look: one })}
      />
      {(classes.length > 0 || colors === "class") && (
        <div class="colors">
          <span aria-hidden="true">Colour by</span>
          <Choice
            what="Colour by"
            options={{ object: "Object", class: "Name" }}
            chosen={colors}
            onChoose={(one) => set({ colors: one })}
          />
        </div>
      )}
      <button
        type="button"
        class="button quiet"
        onMouseDown={leaveFocus}
        onClick={() => intake.pick()}
      >
        <Icon name="upload" /> Import COCO
      </button>
    </div>
  );
}

interface ChoiceProps<Option extends string> {
  readonly what: string;
  readonly options: Readonly<Record<Option, string>>;
  readonly chosen: Option;
  readonly onChoose: (option: Option) => void;
}

function Choice<Option extends string>(props: ChoiceProps<Option>): JSX.Element {
  const { what, options, chosen, onChoose } = props;
  return (
    <fieldset class="segmented" aria-label={what}>
      {(Object.keys(options) as Option[]).map((one) => (
        <button
          type="button"
          key={one}
          aria-pressed={chosen === one}
          onMouseDown={leaveFocus}
          onClick={() => onChoose(one)}
        >
          {options[one]}
        </button>
      ))}
    </fieldset>
  );
}
