/**
 * Two tabs, two workspaces: each tab holds a claim on its own, and a reload finds it again.
 *
 * A page opened anew also takes in what tabs that are gone left behind: who closed a tab looks for
 * its pictures in the next one.
 */
import { type Database, moveWorkspace } from "./database.ts";

const REMEMBERED = "samwire-workspace";
/** A page that is there has answered by then. */
const ANSWER_MS = 250;

type Release = () => void;

/** The name of a workspace no other tab works in; it is ours while this page lives. */
export async function claimWorkspace(database: Database): Promise<string> {
  const last = sessionStorage.getItem(REMEMBERED);
  if (last && (await claim(last))) return last;
  for (let number = 1; ; number++) {
    const name = String(number);
    if (!(await claim(name))) continue;
    sessionStorage.setItem(REMEMBERED, name);
    await gather(database, name);
    return name;
  }
}

async function gather(database: Database, workspace: string): Promise<void> {
  for (const other of await database.getAllKeys("settings")) {
    const release = other === workspace ? null : await claim(other);
    if (!release) continue;
    // One that cannot be moved waits for better times; this page works without it.
    await moveWorkspace(database, other, workspace)
      .catch(() => {})
      .finally(release);
  }
}

/** Null while another page holds it. */
function claim(name: string): Promise<Release | null> {
  // Locks are not offered to a page that was not served securely.
  return navigator.locks ? lock(`samwire-${name}`) : askFor(`samwire-${name}`);
}

function lock(name: string): Promise<Release | null> {
  return new Promise((resolve, reject) => {
    const asked = navigator.locks.request(name, { ifAvailable: true }, (held) => {
      if (!held) return resolve(null);
      return new Promise<void>(resolve); // held until it is released, or the page is gone
    });
    asked.catch(reject); // where a page may keep nothing it gets no locks either
  });
}

/** Whoever holds it says so; of two that ask at once the lower number has it. */
function askFor(name: string): Promise<Release | null> {
  const channel = new BroadcastChannel(name);
  let number = Math.random();
  return new Promise((resolve) => {
    const patience = setTimeout(() => {
      number = -1; // from now on it is ours, whoever asks
      resolve(() => channel.close());
    }, ANSWER_MS);
    channel.onmessage = ({ data: theirs }: MessageEvent<number>) => {
      if (theirs > number) return channel.postMessage(number);
      if (number < 0) return; // another that holds it, too: it slept when this one asked
      clearTimeout(patience);
      channel.close();
      resolve(null);
    };
    channel.postMessage(number);
  });
}
