/** The names there are, with their numbers, of two places that become one. */
import type { State } from "./model.ts";
import { withCategories } from "./numbers.ts";

export type Vocabulary = Pick<State, "classes" | "imported" | "numbers">;

/** The first one's come first, and what only one of them can have is its. */
export function joined(first: Partial<Vocabulary>, second: Partial<Vocabulary>): Vocabulary {
  const numbers = [...(second.numbers ?? [])].map(([name, id]) => ({ id, name }));
  return {
    classes: union(first.classes, second.classes),
    imported: union(first.imported, second.imported),
    numbers: withCategories(first.numbers ?? new Map(), numbers),
  };
}

function union(first: readonly string[] = [], second: readonly string[] = []): string[] {
  return [...new Set([...first, ...second])];
}
