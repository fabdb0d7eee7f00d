/** What goes wrong in a way that a person can be told of: its message is one sentence for the page. */
export class Problem extends Error {
  /**
   * @param {string} sentence What was expected, what came, and what to do.
   * @param {{engineGone?: boolean}} [about] Whether the engine is of no use any more, so that only another one helps.
   */
  constructor(sentence, { engineGone = false } = {}) {
    super(sentence);
    this.engineGone = engineGone;
  }
}

/**
 * The sentence of whatever was thrown; a bug keeps its own words, so that it can be reported.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function sentenceOf(error) {
  if (error instanceof Problem) return error.message;
  return `Something unforeseen happened (${error instanceof Error ? error.message : String(error)}); reload the page.`;
}
