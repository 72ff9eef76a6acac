/** A class name: typed anew or taken from the list that grows with each. */
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Drawn } from "../state/model.ts";
import { useDesk } from "./desk.ts";
import { useStore } from "./use-store.ts";

interface NameInputProps {
  readonly object: Drawn;
  readonly id?: string;
  /** What stands there while there is no name. */
  readonly placeholder: string;
  readonly onFocus?: () => void;
  readonly onEnter?: () => void;
}

export function NameInput({ object, onEnter, ...rest }: NameInputProps): JSX.Element {
  const { actions, stage } = useDesk();
  const input = useRef<HTMLInputElement>(null);
  // The user's typing is theirs until it is done; only another name or object replaces it.
  // Before anything more can be typed: an effect that runs later would undo the first letters.
  useLayoutEffect(() => {
    if (input.current) input.current.value = object.label;
  }, [object.id, object.label]);
  const save = () => {
    const label = input.current?.value ?? "";
    if (label.trim() !== object.label) actions.name(object.id, label);
  };
  return (
    <input
      {...rest}
      ref={input}
      class="name"
      list="classes"
      title={object.label}
      aria-label={`Name of object ${object.id}`}
      autocomplete="off"
      maxLength={80}
      onChange={save}
      onKeyDown={(event) => {
        if (composes(event) || (event.key !== "Enter" && event.key !== "Escape")) return;
        const given = event.key === "Enter";
        if (!given) event.currentTarget.value = object.label;
        event.currentTarget.blur(); // which saves what was typed
        if (given) onEnter?.();
        if (onEnter) stage.root.focus();
      }}
    />
  );
}

/** Keys that only choose among characters. Safari has ended the choice by then; 229 gives it away. */
function composes({ isComposing, keyCode }: KeyboardEvent): boolean {
  return isComposing || keyCode === 229;
}

/** The names there are, for every such input. */
export function ClassList(): JSX.Element {
  const { classes } = useStore(useDesk().context.state);
  return (
    <datalist id="classes">
      {classes.map((name) => (
        <option key={name} value={name} />
      ))}
    </datalist>
  );
}
