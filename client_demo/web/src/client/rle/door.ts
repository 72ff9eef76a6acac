/** What passes between a page and its mask worker, both ways; `postMessage` itself checks nothing. */
import type { Jobs } from "./jobs.ts";

export type JobName = keyof Jobs;

export type Question = {
  [Name in JobName]: { id: number; name: Name; args: Parameters<Jobs[Name]> };
}[JobName];

export type Answer = { id: number } & ({ value: ReturnType<Jobs[JobName]> } | { error: string });
