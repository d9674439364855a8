import assert from "node:assert/strict";
import { please, until } from "./soon.mjs";

const { Agent, Busy, Hub } = await import(process.env.MODULE);
const [blocked, direct] = process.argv.slice(2);

const me = new Agent("one", { url: direct, status: "idle", metadata: { model: "m", depth: 3 } });
await me.ready;

const hub = new Hub({ url: blocked });
const told = [];
const watch = hub.watch({ ids: ["one", "t*"], metadata: { depth: 3 } }, { told: (changes) => told.push(...changes) });
await watch.ready;
assert.equal(hub._line._socket.constructor.name, "StreamSocket");
assert.equal(hub.scope, "root");
assert.deepEqual([...watch.agents.keys()], ["one"]);

me.update({ status: "thinking", task: "a" });
await until(() => watch.agents.get("one").task === "a", "a change comes over the stream");
assert.deepEqual(told.map(({ kind, was }) => [kind, was]), [["updated", "available"]]);

assert.equal((await hub.check("one")).one.state, "busy");
assert.deepEqual(await hub.pick({ ids: ["one"] }), []);
await assert.rejects(hub.claim("one"), Busy);
me.update({ status: "idle", task: null });
await until(() => watch.agents.get("one").state === "available", "it is free");
const peer = await hub.claim("one", { ttl: 5 });
await until(() => watch.agents.get("one").claims === 1, "the claim is seen");
await peer.release();
await until(() => watch.agents.get("one").claims === 0, "and its end");

assert.equal((await hub.who({ ids: ["one"] })).length, 1);
assert.equal((await hub.call("GET", "/v1/stats")).total, 1);

let lost = 0;
hub.addEventListener("disconnected", () => (lost += 1));
please("reset the line");
await until(() => lost === 1, "it is noticed");
me.update({ status: "thinking", task: "said meanwhile" });
await until(() => watch.agents.get("one").task === "said meanwhile", "the watch goes on from its cursor");
assert.ok(!told.some(({ resync }) => resync), "nothing is told twice");
await hub.close();
await me.close();
