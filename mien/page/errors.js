/** An error whose message is one sentence for the user of the page. */
export class PageError extends Error {
  /**
   * @param {string} sentence What was expected, what came, and what to do.
   * @param {{engineFailed?: boolean}} [options] Whether the engine is unusable, so that only another engine helps.
   */
  constructor(sentence, { engineFailed = false } = {}) {
    super(sentence);
    this.engineFailed = engineFailed;
  }
}

/**
 * Returns the sentence for any thrown value. The message of an unexpected error is kept, so that it can be reported.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function sentenceOf(error) {
  if (error instanceof PageError) return error.message;
  return `An unexpected error occurred (${error instanceof Error ? error.message : String(error)}); reload the page.`;
}
