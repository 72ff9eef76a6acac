/** Names that nothing else has: files are told apart by nothing but them. */

/** `image.png`, or `image-2.png` where that is taken, and so on. */
export function freeName(name: string, taken: Pick<ReadonlySet<string>, "has">): string {
  let free = name;
  for (let number = 2; taken.has(free); number++) {
    free = name.replace(/(?=(\.[^.]+)?$)/, `-${number}`);
  }
  return free;
}

/** Each under a name that is free: none of `taken`, and none of another's. */
export function renamed<One extends { readonly name: string }>(
  ones: readonly One[],
  taken: Iterable<string>,
): One[] {
  const names = new Set(taken);
  return ones.map((one) => {
    const name = freeName(one.name, names);
    names.add(name);
    return { ...one, name };
  });
}
