/** Whether somebody types, and how that ends. */

export function isTyping(target: EventTarget | null): boolean {
  if (target instanceof HTMLInputElement)
    return !["range", "color", "checkbox"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

/** It has the focus after a drag, and no use for Enter. */
export function isSlider(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement && target.type === "range";
}

/** What was typed is saved, as by leaving the field. */
export function endTyping(): void {
  const focused = document.activeElement;
  if (isTyping(focused)) (focused as HTMLElement).blur();
}
