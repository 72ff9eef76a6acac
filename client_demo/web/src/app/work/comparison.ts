/** What a COCO file says against what is here: the same file may be imported twice. */
import { UNNAMED } from "../export/subject.ts";
import type { Shape } from "../state/masks.ts";

export interface Read {
  readonly shape: Shape;
  readonly label: string;
}

export interface Named {
  readonly id: number;
  readonly label: string;
}

export type Here = Read & Named;

export interface Comparison {
  readonly fresh: readonly Read[];
  /** Objects that are here to the pixel under another name, with that of the file. */
  readonly renamed: readonly Named[];
  /** How many more are here already. */
  readonly known: number;
}

/** Every object here stands for one of the file at most: a mask may be two things at once. */
export function compared(here: readonly Here[], read: readonly Read[]): Comparison {
  const left = new Map<string, Here[]>();
  for (const one of here) {
    const text = pixels(one);
    left.set(text, [...(left.get(text) ?? []), one]);
  }
  const take = (text: string, isWanted: (one: Here) => boolean) => {
    const same = left.get(text) ?? [];
    const at = same.findIndex(isWanted);
    return at < 0 ? undefined : same.splice(at, 1)[0];
  };
  const texts = new Map(read.map((one) => [one, pixels(one)]));
  const others = read.filter(
    (one) => !take(texts.get(one)!, ({ label }) => isSame(one.label, label)),
  );
  const fresh: Read[] = [];
  const renamed: Named[] = [];
  for (const one of others) {
    const found = take(texts.get(one)!, () => true);
    if (found) renamed.push({ id: found.id, label: one.label });
    else fresh.push(one);
  }
  return { fresh, renamed, known: read.length - others.length };
}

/** A file that names nothing takes no name away. */
function isSame(read: string, here: string): boolean {
  return read === here || read === "" || read === UNNAMED;
}

/** The same text is the same mask. */
function pixels({ shape }: Read): string {
  return new TextDecoder().decode(shape.traced.rle.counts);
}
