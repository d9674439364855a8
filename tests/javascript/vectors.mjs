import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const { Mirror } = await import(process.env.MODULE);

for (const { name, steps } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const mirror = new Mirror();
  for (const [number, step] of steps.entries()) {
    const outcome = mirror.receive(step.frame);
    const where = `${name}, step ${number}`;
    assert.equal(Array.isArray(outcome) ? "taken" : outcome, step.outcome, where);
    assert.deepEqual(Object.fromEntries(mirror.agents), step.agents, where);
    assert.equal(mirror.cursor, step.cursor, where);
    assert.deepEqual(mirror.counts, step.counts ?? {}, where);
  }
}
