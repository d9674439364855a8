/** Calls of a REST API, whose refusals are errors that know their code. */

import { LifesignsError, Unavailable, refusal } from "./error.js";

/** @typedef {import("./error.js").Frame} Frame */

const PATIENCE_MS = 10_000;

/**
 * Call a hub; what it refuses is thrown.
 * @param {string} address @param {string} method
 * @param {{key?: string, project?: string, body?: any}} [options]
 * @returns {Promise<Frame>}
 */
export async function fetched(address, method, { key, project, body } = {}) {
  /** @type {Record<string, string>} */
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (project) headers["X-Lifesigns-Project"] = project;
  let answer, told;
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    answer = await fetch(address, { method, headers, body: JSON.stringify(body), signal });
    told = await answer.json();
  } catch {
    if (!answer) throw new Unavailable(`No hub answers at ${address}.`, "unavailable");
    throw new LifesignsError(`Who answers at ${address} is no hub.`, "internal");
  }
  if (answer.ok) return told;
  throw refusal({ ...told, message: told.error, field: told.detail?.[0]?.field });
}
