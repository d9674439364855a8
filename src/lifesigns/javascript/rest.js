/** Calls of a REST API, whose refusals are errors that know their code. */

import { LifesignsError, Unavailable, refusal } from "./error.js";

/** @typedef {import("./error.js").Frame} Frame */

const PATIENCE_MS = 10_000;
// What a refusal of an API that has no words like ours comes to.
/** @type {Record<number, string>} */
const CODES = {
  400: "bad_request",
  401: "unauthorized",
  403: "forbidden",
  404: "not_found",
  405: "method_not_allowed",
  409: "conflict",
  413: "too_large",
  422: "bad_value",
  429: "rate_limited",
  503: "unavailable",
};

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
  throw refusal(worded(told, answer.status));
}

/** Read a refusal: each of the APIs has its own shape for it. @param {Frame} told @param {number} status */
function worded(told, status) {
  if (typeof told.error === "string" && told.code) {
    return { ...told, message: told.error, field: told.detail?.[0]?.field };
  }
  const message = [told.message, told.error?.message, told.detail].find((each) => typeof each === "string");
  return { code: CODES[status] ?? "internal", message: message ?? `The hub answers ${status}.` };
}
