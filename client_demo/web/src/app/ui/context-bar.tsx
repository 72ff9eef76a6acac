/** What can be done with the object at hand, near it; and a hint when there is none. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { shownColor } from "../state/colors.ts";
import type { Drawn, State } from "../state/model.ts";
import { currentPicture, currentScene } from "../state/pictures.ts";
import { activeObject } from "../state/scene.ts";
import { useDesk } from "./desk.ts";
import { Icon, IconButton, leaveFocus, Swatch } from "./icons.tsx";
import { NameInput } from "./name-input.tsx";
import { useStore } from "./use-store.ts";
import { isAway } from "./words.ts";

export function ContextBar(): JSX.Element | null {
  const { context, connection } = useDesk();
  useStore(context.masksVersion);
  const state = useStore(context.state);
  const away = isAway(useStore(connection));
  const object = activeObject(currentScene(state));
  const brushes = state.tool === "brush" || state.tool === "eraser";
  if (!currentPicture(state)?.size) return null;
  return (
    <div class="context">
      {brushes && <BrushSize />}
      {away ? (
        <p class="hint">Not connected. Your clicks are kept and answered when it is back.</p>
      ) : (
        object && <ExcludeHint object={object} />
      )}
      {object ? <ObjectBar object={object} away={away} /> : !brushes && !away && <Hint />}
    </div>
  );
}

interface BarProps {
  readonly object: Drawn;
  /** Nothing is being worked on: there is no connection. */
  readonly away: boolean;
}

function ObjectBar({ object, away }: BarProps): JSX.Element {
  const { actions, context } = useDesk();
  const state = context.state.get();
  const { mark, tool, current } = state;
  return (
    <section class="card object-bar" aria-label="Current object">
      <Swatch color={shownColor(state, object)} />
      <NameInput
        object={object}
        id="object-name"
        placeholder="Name it"
        onEnter={() => actions.keep()}
      />
      {tool === "segment" && <TapMeaning key={`${current} ${object.id}`} />}
      <div class="candidates-place">
        <Candidates object={object} away={away} />
      </div>
      {mark && (
        <button
          type="button"
          class="button remove-mark"
          onMouseDown={leaveFocus}
          onClick={() => actions.removeMark(mark)}
        >
          <Icon name="close" />
          Remove {"point" in mark ? "point" : "box"}
        </button>
      )}
      <IconButton
        icon="trash"
        label="Delete object"
        hint="Del"
        onClick={() => actions.remove(object.id)}
      />
      <button
        type="button"
        class="button primary keep"
        title="Enter"
        onMouseDown={leaveFocus}
        onClick={() => actions.keep()}
      >
        <Icon name="check" />
        Keep
      </button>
    </section>
  );
}

/** Where nothing hovers there is no right button either. It goes back with each object. */
function TapMeaning(): JSX.Element {
  const { stage } = useDesk();
  const label = useStore(stage.tapLabel);
  useLayoutEffect(() => () => stage.tapLabel.set(1), [stage]);
  return (
    <fieldset class="tap-meaning" aria-label="A tap">
      <IconButton
        icon="plus"
        label="Include"
        pressed={label === 1}
        onClick={() => stage.tapLabel.set(1)}
      />
      <IconButton
        icon="minus"
        label="Exclude"
        pressed={label === 0}
        onClick={() => stage.tapLabel.set(0)}
      />
    </fieldset>
  );
}

/** How many objects it takes to know that excluding is not what one needs. */
const LESSONS = 3;

function ExcludeHint({ object }: { object: Drawn }): JSX.Element | null {
  const { context } = useDesk();
  const state = useStore(context.state);
  if (state.tool !== "segment" || !context.book.shown(object) || knowsExcluding(state)) return null;
  const lesson = matchMedia("(hover: none)").matches
    ? "Tap adds; − or press and hold takes away"
    : "Click adds, right-click takes away, Enter starts the next";
  return <p class="hint lesson">{lesson}</p>;
}

function knowsExcluding({ pictures }: State): boolean {
  const objects = pictures.flatMap(({ history }) => history.present.objects);
  const excludes = ({ prompts }: Drawn) => prompts.points.some(([, , label]) => label === 0);
  return objects.length > LESSONS || objects.some(excludes);
}

function Candidates({ object, away }: BarProps): JSX.Element | null {
  const { context, actions } = useDesk();
  const entry = context.book.get(object.revision);
  const count = entry?.shapes.length ?? 0;
  const score = entry?.shapes[object.chosen]?.score;
  if (entry?.status === "pending") {
    return away ? null : <span class="spinner" role="img" aria-label="Working" />;
  }
  if (score === null || score === undefined) return null;
  const quality = <span class="score">{Math.round(score * 100)} %</span>;
  if (count < 2)
    return (
      <span class="candidates" title="How sure the model is">
        {quality}
      </span>
    );
  return (
    <fieldset class="candidates" aria-label="Candidates">
      <IconButton icon="left" label="Previous candidate" onClick={() => actions.cycle(-1)} />
      <span title="Candidate, and how sure the model is">
        <b>
          {object.chosen + 1}/{count}
        </b>{" "}
        {quality}
      </span>
      <IconButton icon="right" label="Next candidate" hint="C" onClick={() => actions.cycle(1)} />
    </fieldset>
  );
}

function BrushSize(): JSX.Element {
  const { context } = useDesk();
  const { brushRadius } = context.state.get();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current) input.current.value = String(Math.log2(brushRadius));
  }, [brushRadius]);
  return (
    <label class="card brush-size">
      Size
      <input
        ref={input}
        type="range"
        min="0"
        max="8"
        step="0.05"
        aria-label="Brush size"
        onInput={({ currentTarget }) => {
          const radius = 2 ** Number(currentTarget.value);
          context.state.update((now) => ({ ...now, brushRadius: radius }));
        }}
      />
      <output>{Math.round(brushRadius * 2)} px</output>
    </label>
  );
}

function Hint(): JSX.Element | null {
  const { context } = useDesk();
  const state = useStore(context.state);
  const picture = currentPicture(state);
  if (picture?.status.kind === "failed" || state.tool === "hand") return null;
  const touch = matchMedia("(hover: none)").matches;
  const verb = touch ? "Tap" : "Click";
  const count = currentScene(state).objects.length;
  const text =
    state.tool === "select"
      ? `${verb} an object to edit it`
      : count === 0
        ? `${verb} an object, or drag a box around it`
        : `${verb} the next object, or export`;
  return <p class="hint">{text}</p>;
}
