/** server/protocol.py -> src/client/schema.json -> src/client/messages.ts */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { messagesSource } from "./messages.mjs";

const root = new URL("../../../", import.meta.url).pathname;
const venv = `${root}.venv/bin/python`;
const python = process.env.PYTHON ?? (existsSync(venv) ? venv : "python3");
execFileSync(python, [`${root}client_demo/web/scripts/dump_schema.py`], { stdio: "inherit" });
const client = `${root}client_demo/web/src/client/`;
const schema = JSON.parse(readFileSync(`${client}schema.json`, "utf8"));
writeFileSync(`${client}messages.ts`, await messagesSource(schema));
