/** Wait for what has to happen soon, without guessing how soon. */
export async function until(condition, what) {
  const deadline = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Ask the test for what only it can do. */
export function please(deed) {
  console.log(`please ${deed}`);
}
