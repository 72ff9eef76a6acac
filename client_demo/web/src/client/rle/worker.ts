/** The worker's side of the door. */
import type { Answer, Question } from "./door.ts";
import { jobs } from "./jobs.ts";

function perform({ id, name, args }: Question): Answer {
  try {
    // The pairing of a name with its arguments is the door's type; here it is one call.
    const job = jobs[name] as (...args: unknown[]) => ReturnType<(typeof jobs)[typeof name]>;
    return { id, value: job(...args) };
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) };
  }
}

addEventListener("message", (event: MessageEvent<Question>) => postMessage(perform(event.data)));
