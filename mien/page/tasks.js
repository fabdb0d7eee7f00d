/** Answers the tasks that a worker gets, one after another. */

import { sentenceOf } from "./errors.js";

export const HEARTBEAT_MS = 2000; // a worker shows that often that it is alive, even while it waits for a network

/**
 * Answers each message {id, task, ...} with {id, result} or {id, error}, in order, and posts {} as a sign of life.
 *
 * @param {Record<string, (data: any) => Promise<any>>} tasks
 */
export function answerTasks(tasks) {
  let previous = Promise.resolve();
  setInterval(() => self.postMessage({}), HEARTBEAT_MS);
  self.onmessage = ({ data }) => {
    previous = previous.then(async () => {
      try {
        const result = await tasks[data.task](data);
        const transfer = result && "frame" in result ? [/** @type {ImageBitmap} */ (result.frame)] : [];
        self.postMessage({ id: data.id, result }, { transfer });
      } catch (error) {
        self.postMessage({ id: data.id, error: sentenceOf(error) });
      }
    });
  };
}
