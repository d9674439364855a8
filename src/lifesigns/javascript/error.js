/** What goes wrong, as classes: each carries the machine's word for it as `code`. */

/** @typedef {Record<string, any>} Frame one message of the hub */

/** What a hub refuses, or what became of a line to it. */
export class LifesignsError extends Error {
  /**
   * @param {string} message
   * @param {string} code the machine's word for it
   * @param {Frame} [told] the whole refusal
   */
  constructor(message, code, told = {}) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.field = told.field;
    this.state = told.state;
  }
}
/** Nobody matches who could be claimed. */
export class NoMatch extends LifesignsError {}
/** The agent is alive and takes no work now. */
export class Busy extends LifesignsError {}
/** The agent is not there. */
export class NotAlive extends LifesignsError {}
/** The claim is somebody else's by now, or nobody's. */
export class ClaimLost extends LifesignsError {}
/** The hub cannot be asked now. */
export class Unavailable extends LifesignsError {}
/** The line has ended for good. */
export class Closed extends LifesignsError {}

/** @type {Record<string, typeof LifesignsError>} */
const ERRORS = {
  no_match: NoMatch,
  busy: Busy,
  not_alive: NotAlive,
  claim_lost: ClaimLost,
  unavailable: Unavailable,
};

/** Make an error of a hub's refusal. @param {Frame} told @returns {LifesignsError} */
export function refusal(told) {
  const Kind = ERRORS[told.code] ?? LifesignsError;
  return new Kind(told.message, told.code, told);
}
