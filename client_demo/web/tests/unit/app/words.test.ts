import { expect, test } from "vitest";
import { MaskBook, type Shape } from "../../../src/app/state/masks.ts";
import { EMPTY_SCENE, NO_PROMPTS } from "../../../src/app/state/model.ts";
import { addObject } from "../../../src/app/state/scene.ts";
import { formatArea, isAway, sayArea, sayConnection, sayMask } from "../../../src/app/ui/words.ts";
import { SamwireError } from "../../../src/client/errors.ts";

const shape = (area: number, score: number | null) => ({ traced: { area }, score }) as Shape;

function said(status: "pending" | "ready", shapes: Shape[], label = ""): string | null {
  const book = new MaskBook();
  const revision = book.next({ status, prompts: NO_PROMPTS, from: null, shapes, reply: null });
  return sayMask(addObject({ ...EMPTY_SCENE, nextId: 2 }, { revision, label }).objects[0]!, book);
}

test("a finished mask is said by its name, its size and how sure the model is", () => {
  expect(said("ready", [shape(12_431, 0.934)])).toBe("Object 2, 12.4k px, 93 %");
  expect(said("ready", [shape(7, null)], "cup")).toBe("cup, 7 px");
});

test("of several candidates it is said which one is shown", () => {
  expect(said("ready", [shape(7, 0.9), shape(9, 0.8)])).toBe("Object 2, 7 px, 90 %, 1 of 2");
});

test("nothing is said of a mask that is still being asked for", () => {
  expect(said("pending", [])).toBeNull();
});

test("only a mask that may yet come is waited for", () => {
  const book = new MaskBook();
  const entry = { prompts: NO_PROMPTS, from: null, shapes: [], reply: null };
  const words = (["pending", "failed", "ready"] as const).map((status) => {
    const revision = book.next({ ...entry, status });
    return sayArea(addObject(EMPTY_SCENE, { revision }).objects[0]!, book);
  });
  expect(words).toEqual(["…", "…", "empty"]);
});

test("areas read as one would say them", () => {
  expect([999, 12_000, 123_456, 2_500_000].map(formatArea)).toEqual([
    "999 px",
    "12.0k px",
    "123k px",
    "2.50M px",
  ]);
});

test("a server that is full is not called a lost connection", () => {
  const waiting = (reason: SamwireError | null) =>
    sayConnection({ status: "waiting", attempt: 1, delayMs: 500, reason });
  expect(waiting(null)).toBe("Connection lost, trying again");
  expect(waiting(new SamwireError("full", "Full."))).toBe(
    "The server is full, or still loading. Trying again.",
  );
  expect(waiting(new SamwireError("slow_reader", "Slow."))).toBe("Connection lost, trying again");
});

test("a page is away once a connection failed, and not while the first one opens", () => {
  const waiting = { status: "waiting", attempt: 1, delayMs: 500, reason: null } as const;
  const connecting = (attempt: number) => isAway({ status: "connecting", attempt });
  expect([connecting(0), isAway(waiting), connecting(1)]).toEqual([false, true, true]);
  expect(isAway({ status: "asleep" })).toBe(false);
});
