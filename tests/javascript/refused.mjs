import assert from "node:assert/strict";

const { Agent, Closed } = await import(process.env.MODULE);

const me = new Agent("one");
assert.equal((await me.closed).code, 4001);
await assert.rejects(me.ready, Closed);
await assert.rejects(me.hub.check("one"), Closed);
await assert.rejects(async () => {
  for await (const change of me.hub.watch()) assert.fail(change.kind);
}, Closed);
