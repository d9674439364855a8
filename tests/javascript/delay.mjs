import assert from "node:assert/strict";

const { delayMs } = await import(process.env.MODULE);

const returns = Array.from({ length: 1000 }, (_, i) => delayMs(6, i / 1000)).sort((a, b) => a - b);
assert.ok(returns.at(-1) <= 30_000);
for (let at = 0; at < 16_000; at += 1000) {
  const burst = returns.filter((ms) => ms >= at && ms < at + 1000).length;
  assert.ok(burst < 100, `${burst} come back within a second`);
}
assert.ok(delayMs(1_000_000, 1) === 30_000);
