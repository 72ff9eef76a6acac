/** Two tabs, two workspaces: each tab holds a lock on its own, and a reload finds it again. */

const REMEMBERED = "samwire-workspace";

/** The name of a workspace no other tab works in; it is ours while this page lives. */
export async function claimWorkspace(): Promise<string> {
  if (!navigator.locks) return "1"; // not offered to a page that was not served securely
  const last = sessionStorage.getItem(REMEMBERED);
  if (last && (await claim(last))) return last;
  for (let number = 1; ; number++) {
    const name = String(number);
    if (await claim(name)) {
      sessionStorage.setItem(REMEMBERED, name);
      return name;
    }
  }
}

function claim(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    void navigator.locks.request(`samwire-${name}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock ? new Promise(() => {}) : undefined; // held until the page is gone
    });
  });
}
