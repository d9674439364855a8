// A dashboard in thirty lines: how many are in which state, and who changed last.
//
// npm install lifesigns, then: node dashboard.mjs
import { Hub } from "lifesigns";

const hub = new Hub();
const watch = hub.watch({}, { detail: "lite" });
await watch.ready;

const latest = [];
draw();
for await (const change of watch) {
  latest.unshift(`${change.id} ${change.kind}: ${change.was ?? "nothing"} -> ${change.state}`);
  latest.length = Math.min(latest.length, 10);
  draw();
}

function draw() {
  const counts = new Map();
  for (const { state } of watch.agents.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
  const states = [...counts].map(([state, count]) => `${count} ${state}`).sort();
  if (process.stdout.isTTY) console.clear();
  console.log(states.join(", ") || "nobody");
  for (const line of latest) console.log(`  ${line}`);
}
