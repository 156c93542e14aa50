// Requests to the study's server.

import { pause } from "./tools.js";

const PATIENCE = 15_000; // milliseconds until a request without an answer is cancelled and sent again
const SLOWEST = 15_000; // milliseconds between two attempts, at most

/** There was no answer, or it was not the study's: another attempt may succeed. */
export class Unreachable extends Error {}

/** The study refused the request. */
export class Refused extends Error {
  constructor(status, message, wait) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

/** The common beginning of the study's paths, where it shares its host with others. */
export const BASE = document.querySelector('meta[name="path"]').content;

/**
 * Sends one request.
 * @param {string} path within the study
 * @param {object=} body makes it a POST, which the browser finishes also when the page is closed
 */
export async function ask(path, body) {
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), PATIENCE);
  try {
    const answer = await fetch(BASE + path, { ...request(body), signal: giveUp.signal });
    if (answer.status >= 500 || answer.status === 408) throw new Unreachable(`status ${answer.status}`);
    const content = await answer.json();
    if (answer.ok) return content;
    const wait = Number(answer.headers.get("retry-after")) * 1000 || null;
    throw new Refused(answer.status, String(content.detail ?? ""), wait);
  } catch (error) {
    throw error instanceof Refused ? error : new Unreachable(String(error));
  } finally {
    clearTimeout(timer);
  }
}

function request(body) {
  if (body === undefined) return { headers: { accept: "application/json" } };
  const csrf = document.querySelector('meta[name="csrf"]').content;
  const headers = { "content-type": "application/json", accept: "application/json", "x-csrf-token": csrf };
  return { method: "POST", body: JSON.stringify(body), headers, keepalive: true };
}

/**
 * Sends a request until there is an answer.
 * @param {function(Error)} failed called after every attempt that failed
 * @throws {Refused} with a status other than 429
 */
export async function insist(path, body, failed) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await ask(path, body);
    } catch (error) {
      if (error instanceof Refused && error.status !== 429) throw error;
      failed(error);
      await pause(error.wait ?? backoff(attempt));
    }
  }
}

/** Milliseconds before the next attempt: twice as many each time, with a random factor. */
export function backoff(attempt) {
  return Math.min(SLOWEST, 400 * 2 ** attempt) * (0.75 + Math.random() / 2);
}
