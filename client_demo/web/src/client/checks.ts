/** Whether what came over the wire is what its type says; the types of TypeScript check nothing. */

export type Check<T> = (value: unknown) => value is T;
/** A check for every field; one that may be left out has a `maybe`. */
export type Fields<T> = { readonly [Name in keyof T]-?: Check<T[Name]> };

export const text = (value: unknown): value is string => typeof value === "string";
export const flag = (value: unknown): value is boolean => typeof value === "boolean";
export const bytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array;
export const finite = (value: unknown): value is number => Number.isFinite(value);
export const share = (value: unknown): value is number => finite(value) && value >= 0 && value <= 1;
export const count = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;
export const id = (value: unknown): value is number => count(value) && value > 0;

export function oneOf<T extends string>(...words: T[]): Check<T> {
  return (value): value is T => words.includes(value as T);
}

export function maybe<T>(check: Check<T>): Check<T | undefined> {
  return (value): value is T | undefined => value === undefined || check(value);
}

export function orNull<T>(check: Check<T>): Check<T | null> {
  return (value): value is T | null => value === null || check(value);
}

export function each<T>(check: Check<T>): Check<T[]> {
  return (value): value is T[] => Array.isArray(value) && value.every(check);
}

/** Exactly these items. */
export function tuple<T extends unknown[]>(...checks: { [At in keyof T]: Check<T[At]> }): Check<T> {
  return (value): value is T =>
    Array.isArray(value) &&
    value.length === checks.length &&
    checks.every((check, at) => check(value[at]));
}

/** At least these fields. */
export function map<T extends object>(fields: Fields<T>): Check<T> {
  const checks = Object.entries(fields) as [string, Check<unknown>][];
  return (value): value is T =>
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    checks.every(([name, check]) => check((value as Record<string, unknown>)[name]));
}
