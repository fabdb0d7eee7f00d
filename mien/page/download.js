/** Downloads model files. */

import { PageError } from "./errors.js";

const SILENT_MS = 20_000; // without a byte for so long, a download has failed

/**
 * @param {string} url
 * @param {Record<string, string>} headers
 * @param {(bytes: number) => void} [onProgress] Called with the number of bytes of each part that has arrived.
 */
export async function fetchFile(url, headers, onProgress = () => {}) {
  const name = decodeURIComponent(new URL(url).pathname.split("/").pop() ?? url);
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), SILENT_MS);
  /** @type {Uint8Array[]} */
  const parts = [];
  try {
    const response = await fetch(url, { headers, signal: abort.signal });
    if (!response.ok) {
      throw new PageError(`The model ${name} is missing on the host (status ${response.status}); put it there.`);
    }
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      onProgress(part.value.length);
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENT_MS);
    }
  } catch (error) {
    if (error instanceof PageError) throw error;
    throw new PageError(
      abort.signal.aborted
        ? `The model ${name} does not arrive: nothing came for ${SILENT_MS / 1000} s; check the connection and try again.`
        : `The model ${name} could not be downloaded; check the connection and try again.`,
    );
  } finally {
    clearTimeout(timer);
  }
  return joined(parts);
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const file = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}
