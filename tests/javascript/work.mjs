import assert from "node:assert/strict";

const { Agent } = await import(process.env.MODULE);

const me = new Agent("a1");
await me.ready;
assert.throws(() => me.onRun(() => null, { atOnce: 0 }), RangeError);
let working = 0;
me.onRun(async (run) => {
  assert.equal(++working, 1, "one after another");
  await new Promise((resolve) => setTimeout(resolve, 10));
  working -= 1;
  switch (run.prompt) {
    case "note":
      Object.assign(run, { tokens_used: 12, credits: 0.5, notify: "new" });
      return `${run.id} of ${run.schedule} for ${run.member_id}`;
    case "throw":
      run.tokens_used = 3;
      throw new TypeError("no such page");
    case "report":
      return { status: "error", error_message: "none found", credits: 1 };
    case "data":
      return { found: ["ä", null] };
    case "bad":
      return { response: "x", tokens_used: "many" };
    case "long":
      return "\u0000😀".repeat(50_000);
    case "surrogate":
      return "\ud800";
    case "leave":
      setTimeout(() => me.close(), 50);
      return await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
  }
});
await me.closed;
