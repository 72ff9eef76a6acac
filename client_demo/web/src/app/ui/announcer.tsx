/** The one voice of the page for masks: a change on the stage is not seen by everybody. */
import type { JSX } from "preact";
import { currentScene } from "../state/pictures.ts";
import { activeObject } from "../state/scene.ts";
import { useDesk } from "./desk.ts";
import { useStore } from "./use-store.ts";
import { sayMask } from "./words.ts";

export function Announcer(): JSX.Element {
  const { context } = useDesk();
  useStore(context.masksVersion);
  const object = activeObject(currentScene(useStore(context.state)));
  return (
    <p class="heard" aria-live="polite">
      {object && sayMask(object, context.book)}
    </p>
  );
}
