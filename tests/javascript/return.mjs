import assert from "node:assert/strict";
import { please, until } from "./soon.mjs";

const { Agent, Hub } = await import(process.env.MODULE);
const [first, witness] = process.argv.slice(2);

const seen = [];
const me = new Agent("one", { url: [first, witness], status: "idle", ttl: 30 });
const watch = me.hub.watch({ ids: ["one", "other"] });
(async () => {
  for await (const change of watch) seen.push(change);
})();
await me.ready;
await watch.ready;
const { node } = me.hub._line.welcome;

me.addEventListener("disconnected", () => {
  me.update({ status: "thinking", task: "said while there was no hub" });
  for (let i = 0; i < 100_000; i++) me.update({ task: `latest ${i}` });
});
please("kill the first hub");
await until(() => me.connected && me.hub._line.welcome.node !== node, "it is at the other hub");
const other = new Agent("other", { url: witness });
await until(() => watch.agents.get("one")?.task === "latest 99999", "what it said meanwhile is there");
await until(() => watch.agents.has("other"), "the watch goes on");
assert.equal(watch.agents.get("one").instances, 1);
assert.ok(!seen.some(({ kind }) => kind === "offline"), seen.map(({ kind }) => kind).join());
const numbers = seen.filter(({ id }) => id === "one").map(({ seq }) => seq);
assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b), "none twice, in order");
await other.close();
await me.close();
