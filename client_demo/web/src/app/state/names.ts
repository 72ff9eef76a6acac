/** Names that nothing else has: files are told apart by nothing but them. */

/** `image.png`, or `image-2.png` where that is taken, and so on. */
export function freeName(name: string, taken: Pick<ReadonlySet<string>, "has">): string {
  let free = name;
  for (let number = 2; taken.has(free); number++) {
    free = name.replace(/(?=(\.[^.]+)?$)/, `-${number}`);
  }
  return free;
}
