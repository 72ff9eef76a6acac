/** Callbacks that only look on: what one raises is told as any uncaught error, and breaks nothing. */
export function tell(observer: () => void): void {
  try {
    observer();
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}
