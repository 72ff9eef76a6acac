/**
 * Category numbers, as COCO files have them: bound to a name by the first file that goes out or
 * comes in with it, and never given to another. Files of different days then agree.
 */

export type Numbers = ReadonlyMap<string, number>;

export interface Category {
  readonly id: number;
  readonly name: string;
}

/** Names that have no number yet get the next ones. */
export function withNames(numbers: Numbers, names: Iterable<string>): Numbers {
  const all = new Map(numbers);
  let last = Math.max(0, ...all.values());
  for (const name of names) {
    if (all.has(name)) continue;
    last += 1;
    all.set(name, last);
  }
  return all;
}

/** Numbers from elsewhere, where neither they nor their names are taken. */
export function withCategories(numbers: Numbers, categories: Iterable<Category>): Numbers {
  const all = new Map(numbers);
  const taken = new Set(all.values());
  for (const { id, name } of categories) {
    if (all.has(name) || taken.has(id)) continue;
    all.set(name, id);
    taken.add(id);
  }
  return all;
}
