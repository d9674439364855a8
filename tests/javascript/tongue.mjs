import assert from "node:assert/strict";

const { Hub, LifesignsError } = await import(process.env.MODULE);

const hub = new Hub();
for (const [path, code, words] of [
  ["/v1/pulse/nobody", "not_found", /nobody/],
  ["/jobs/nothing", "not_found", /nothing/],
  ["/api/v2/home", "forbidden", /key/],
  ["/api/v1/agents/nobody", "not_found", /./],
  ["/v1/bot/heartbeat/readall", "bad_request", /project_id/],
]) {
  await assert.rejects(hub.call("GET", path), (error) => {
    assert(error instanceof LifesignsError);
    assert.equal(error.code, code, path);
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /\[object/);
    return true;
  });
}
hub.close();
