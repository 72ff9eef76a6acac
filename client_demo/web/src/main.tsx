/** Composition: the client, the parts of the page, and how they are wired together. */
import { render } from "preact";
import { KeyboardInput } from "./app/input/keyboard.ts";
import { PointerInput } from "./app/input/pointer.ts";
import { Autosave } from "./app/persist/autosave.ts";
import { openDatabase } from "./app/persist/database.ts";
import { claimWorkspace } from "./app/persist/workspace.ts";
import { Stage } from "./app/stage/stage.ts";
import { Store } from "./app/state/store.ts";
import { App } from "./app/ui/app.tsx";
import type { Desk } from "./app/ui/desk.ts";
import { createTheme } from "./app/ui/theme.ts";
import { Actions } from "./app/work/actions.ts";
import { Brush } from "./app/work/brush.ts";
import { Context } from "./app/work/context.ts";
import { Exchange } from "./app/work/exchange.ts";
import { Gallery } from "./app/work/gallery.ts";
import { Intake } from "./app/work/intake.ts";
import { Latency } from "./app/work/latency.ts";
import { Notices } from "./app/work/notices.ts";
import { Segmenter } from "./app/work/segmenter.ts";
import { type ConnectionState, connect, MaskWorker } from "./client/index.ts";
import "./style/index.css";

function compose(): Desk & { segmenter: Segmenter; brush: Brush } {
  const connection = new Store<ConnectionState>({ status: "connecting", attempt: 0 });
  const notices = new Notices();
  const latency = new Latency();
  const client = connect({
    // A link may carry a token in its fragment, which no server and no log ever sees.
    token: new URLSearchParams(location.hash.slice(1)).get("token") ?? undefined,
    client: "samwire-web",
    onState: (state) => connection.set(state),
    onTiming: (_, totalMs, reply) => latency.add(totalMs, reply),
    onImageLost: (error) => gallery.lost(error),
    onImageBack: (opened) => gallery.back(opened),
  });
  const context = new Context(client, new MaskWorker(), notices, latency);
  const segmenter = new Segmenter(context);
  const gallery = new Gallery(context, segmenter);
  const actions = new Actions(context, segmenter);
  const brush = new Brush(context, actions);
  const exchange = new Exchange(context, actions);
  const intake = new Intake(context, gallery, exchange);
  const stage = new Stage(context, gallery, actions);
  const theme = createTheme();
  const restoring = new Store(false);
  return {
    ...{ context, segmenter, gallery, actions, brush, exchange, intake, stage },
    ...{ connection, theme, restoring },
  };
}

function listen({
  context,
  segmenter,
  actions,
  brush,
  gallery,
  stage,
  intake,
  connection,
}: ReturnType<typeof compose>) {
  const pointer = new PointerInput(context, stage, actions, brush, segmenter);
  new KeyboardInput(context, {
    ...{ stage, actions, brush, gallery, segmenter, pointer },
    openPicker: () => intake.pick(),
    typeName: () => {
      actions.takeUp();
      // The field of an object that was just taken up is not drawn before the next frame.
      if (!focusName()) requestAnimationFrame(focusName);
    },
  });
  connection.subscribe(({ status }) => {
    if (status === "online") segmenter.ensure(); // what was lost with the connection
  });
  addEventListener("online", () => context.client.wake());
}

/** What is typed then replaces the name there is. */
function focusName(): boolean {
  const field = document.querySelector<HTMLInputElement>("#object-name");
  field?.focus();
  field?.select();
  return field !== null;
}

async function restore(desk: ReturnType<typeof compose>): Promise<void> {
  try {
    const database = await openDatabase();
    const autosave = new Autosave(database, await claimWorkspace(database), desk.context);
    const key = await autosave.lastShown();
    desk.restoring.set(key !== null);
    await autosave.restore(desk.segmenter);
    autosave.start();
    const { pictures, current } = desk.context.state.get();
    for (const [one, blob] of desk.context.blobs) void desk.gallery.thumbnails.add(one, blob);
    const shown = pictures.find((picture) => picture.key === key) ?? pictures[0];
    // What was dropped on the page meanwhile is what the user looks at.
    if (shown && !current) desk.gallery.show(shown.key);
  } catch {
    desk.context.notices.problem(
      "This browser keeps nothing for this page, so a reload would lose your work.",
    );
  } finally {
    desk.restoring.set(false);
  }
}

const desk = compose();
listen(desk);
render(<App desk={desk} />, document.getElementById("root")!);
void restore(desk);
