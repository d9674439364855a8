import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const { AgentTool } = await import(process.env.MODULE);
const [url, folder, ...programs] = process.argv.slice(2);

process.env.AT_API_KEY = process.env.LIFESIGNS_KEY;
process.env.AT_BASE_URL = url;
delete process.env.LIFESIGNS_KEY;

// The programs name the published package, and get ours.
await mkdir(`${folder}/node_modules/@agenttool/sdk`, { recursive: true });
await writeFile(`${folder}/node_modules/@agenttool/sdk/package.json`, '{"type": "module", "exports": "./sdk.js"}');
await writeFile(`${folder}/node_modules/@agenttool/sdk/sdk.js`, `export * from "${process.env.MODULE}";\n`);
const printed = [];
console.log = (...words) => printed.push(words.join(" "));
for (const program of programs) {
  const place = `${folder}/${program.split("/").at(-1)}.mjs`;
  await writeFile(place, await readFile(program));
  await import(pathToFileURL(place));
}
assert.deepEqual(printed, ["thinking processing user query", "my-agent: thinking"]);

const at = new AgentTool();
const beaten = await at.pulse.heartbeat("a:1@b", { metadata: { queue_depth: 3 }, ttl: 90 });
assert.equal(beaten.ok, true);
assert.equal((await at.pulse.get("a:1@b")).metadata.queue_depth, 3);
const fleet = await at.pulse.list();
assert.ok(Array.isArray(fleet));
assert.deepEqual(fleet.agents.map((agent) => agent.id), ["a:1@b", "my-agent"]);
await assert.rejects(at.pulse.get("nobody"), { code: "not_found" });
await assert.rejects(at.pulse.heartbeat("a b"), { code: "bad_request", field: "id" });
await assert.rejects(new AgentTool({ apiKey: "wrong" }).pulse.list(), { code: "unauthorized" });
await assert.rejects(new AgentTool({ baseUrl: "http://127.0.0.1:1" }).pulse.list(), { code: "unavailable" });
