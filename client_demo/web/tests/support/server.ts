/** The real server with the bundled model, as a process that tests can kill and start again. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";

const ROOT = new URL("../../../../", import.meta.url).pathname;
const VENV = `${ROOT}.venv/bin/python`;
export const PYTHON = process.env.PYTHON ?? (existsSync(VENV) ? VENV : "python3");
const START_MS = 90_000;

export class Server {
  #process: ChildProcess | null = null;

  private constructor(readonly port: number) {}

  static async start(environment: Record<string, string> = {}): Promise<Server> {
    const server = new Server(await freePort());
    await server.restart(environment);
    return server;
  }

  get url(): string {
    return `http://localhost:${this.port}/`;
  }

  async restart(environment: Record<string, string> = {}): Promise<void> {
    const args = ["-m", "server", "serve", "--port", String(this.port)];
    const env = { ...process.env, SAMWIRE_DTYPE: "float32", ...environment };
    const started = spawn(PYTHON, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"] });
    this.#process = started;
    let said = "";
    started.stdout.on("data", (data) => (said += data));
    started.stderr.on("data", (data) => (said += data));
    for (const end = Date.now() + START_MS; Date.now() < end; ) {
      if (started.exitCode !== null) throw new Error(`the server ended at its start:\n${said}`);
      if (await isReady(this.url)) return;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`the server was not ready within ${START_MS} ms:\n${said}`);
  }

  /** As by a crash: no goodbye. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const dying = this.#process;
    this.#process = null;
    if (!dying || dying.exitCode !== null) return;
    const gone = new Promise((resolve) => dying.once("exit", resolve));
    dying.kill(signal);
    await gone;
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(new URL("readyz", url))).ok;
  } catch {
    return false;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
