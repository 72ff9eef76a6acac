/** The page's frame. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { Announcer } from "./announcer.tsx";
import { ContextBar } from "./context-bar.tsx";
import { type Desk, DeskContext, useDesk } from "./desk.ts";
import { Header } from "./header.tsx";
import { ClassList } from "./name-input.tsx";
import { DropTarget, ExportProgress, NoticeList, Progress, Welcome } from "./overlays.tsx";
import { Panel } from "./panel.tsx";
import { Sheets } from "./sheets.tsx";
import { StatusBar } from "./status.tsx";
import { Strip } from "./strip.tsx";
import { useStore } from "./use-store.ts";

export function App({ desk }: { desk: Desk }): JSX.Element {
  return (
    <DeskContext.Provider value={desk}>
      <Frame />
    </DeskContext.Provider>
  );
}

function Frame(): JSX.Element {
  const { context, stage } = useDesk();
  const { pictures, current } = useStore(context.state);
  // A button may go with what it did, and the focus with it: then it is the picture's.
  useEffect(() => {
    if (current && document.activeElement === document.body) {
      stage.root.focus({ preventScroll: true });
    }
  });
  return (
    <div class="app" data-empty={pictures.length === 0}>
      <Header />
      <Strip />
      <main class="work">
        <StageHost />
        <Welcome />
        <Progress />
        <ExportProgress />
        <ContextBar />
        <DropTarget />
        <NoticeList />
      </main>
      <Panel />
      <StatusBar />
      <Sheets />
      <Announcer />
      <ClassList />
    </div>
  );
}

/** The stage draws itself; it only needs a place. */
function StageHost(): JSX.Element {
  const { stage } = useDesk();
  const host = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    host.current?.append(stage.root);
  }, [stage]);
  return <div class="stage-host" ref={host} />;
}
