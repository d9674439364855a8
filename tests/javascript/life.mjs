import assert from "node:assert/strict";
import { until } from "./soon.mjs";

const { Agent, Hub } = await import(process.env.MODULE);

const hub = new Hub();
const watch = hub.watch({ ids: ["one", "two"] });
await watch.ready;
assert.equal(watch.agents.size, 0);

const me = new Agent("one", { capabilities: ["search"], status: "idle", ttl: 1 });
await me.ready;
for (let i = 0; i < 300; i++) me.update({ status: "thinking", task: `task ${i}` });
await until(() => watch.agents.get("one")?.task === "task 299", "the last update is seen");

me.update({ state: "error" });
await until(() => watch.agents.get("one")?.state === "error", "a hint counts");
me.update({ status: "idle", task: null });
await until(() => watch.agents.get("one")?.state === "available", "a status ends a hint");
assert.equal(watch.agents.get("one").task, null);

const { one, nobody } = await hub.check(["one", "nobody"]);
assert.deepEqual([one.alive, one.instance_states, nobody.known], [true, { available: 1 }, false]);
assert.deepEqual((await hub.who({ ids: ["one"] })).map(({ id }) => id), ["one"]);
assert.deepEqual((await hub.pick({ capability: ["search"] })).map(({ id }) => id), ["one"]);

// Longer than its lease: it beats by itself.
const born = one.online_since;
await new Promise((resolve) => setTimeout(resolve, 1500));
assert.equal((await hub.check("one")).one.online_since, born);

await me.close("its work is done");
assert.deepEqual(await me.closed, { code: 1000, reason: "bye" });
const kinds = [];
for await (const change of watch) {
  kinds.push(change.kind);
  if (change.kind === "offline") {
    assert.deepEqual([change.reason, change.reason_text], ["left", "its work is done"]);
    break;
  }
}
assert.equal(kinds[0], "online");
assert.ok(kinds.slice(1, -1).every((kind) => kind === "updated"), kinds.join());
await hub.close();
