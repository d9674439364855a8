import assert from "node:assert/strict";
import { until } from "./soon.mjs";

const { Agent, Busy, ClaimLost, Hub, NoMatch, NotAlive } = await import(process.env.MODULE);
const [here, there] = process.argv.slice(2);

const hub = new Hub({ url: here });
const worker = new Agent("worker", { url: there, capabilities: ["dig"], ttl: 30 });
const told = [];
for (const name of ["assigned", "unassigned"]) worker.addEventListener(name, () => told.push(name));
await worker.ready;

await assert.rejects(hub.claim("nobody"), NotAlive);
await assert.rejects(hub.claim({ capability: ["fly"] }), NoMatch);

const peer = await hub.claim({ capability: ["dig"] }, { ttl: 2, note: "a hole" });
assert.equal(peer.id, "worker");
await assert.rejects(hub.claim("worker"), Busy);
await until(() => told.includes("assigned"), "the claimed agent is told");
await new Promise((resolve) => setTimeout(resolve, 2500));
assert.ok(!peer.lost.aborted, "a claim renews itself");
await peer.release();
assert.ok(peer.lost.aborted);

const again = await hub.claim("worker");
assert.ok(again.fence > peer.fence, "fences only rise");
worker.hub._line._socket._stream.destroy(); // as a broken cable would
await until(() => again.doubtful || again.lost.aborted, "a broken socket is told");
await until(() => !again.doubtful, "it came back");
assert.ok(!again.lost.aborted);

await worker.close();
await until(() => again.lost.aborted, "a claim ends with its agent");
assert.ok(again.lost.reason instanceof ClaimLost);
await hub.close();
