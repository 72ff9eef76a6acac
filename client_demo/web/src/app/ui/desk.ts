/** Everything the components may use, in one context. */
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { ConnectionState } from "../../client/index.ts";
import type { Stage } from "../stage/stage.ts";
import type { Store } from "../state/store.ts";
import type { Actions } from "../work/actions.ts";
import type { Context } from "../work/context.ts";
import type { Exchange } from "../work/exchange.ts";
import type { Gallery } from "../work/gallery.ts";
import type { Intake } from "../work/intake.ts";
import type { Theme } from "./theme.ts";

export interface Desk {
  readonly context: Context;
  readonly actions: Actions;
  readonly gallery: Gallery;
  readonly exchange: Exchange;
  readonly intake: Intake;
  readonly stage: Stage;
  readonly connection: Store<ConnectionState>;
  readonly theme: Store<Theme>;
  /** Whether pictures of an earlier visit are on their way back. */
  readonly restoring: Store<boolean>;
}

export const DeskContext = createContext<Desk | null>(null);

export function useDesk(): Desk {
  const desk = useContext(DeskContext);
  if (!desk) throw new Error("expected a desk around this component");
  return desk;
}
