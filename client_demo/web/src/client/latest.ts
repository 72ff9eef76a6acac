/** One in flight, one pending: of what is asked meanwhile only the newest is done. */

export class Latest<Question, Answer> {
  #busy = false;
  #pending: { question: Question; resolve: (answer: Answer | null) => void } | null = null;

  constructor(private readonly ask: (question: Question) => Promise<Answer>) {}

  /** The answer, or null when a newer question took this one's place. */
  push(question: Question): Promise<Answer | null> {
    this.drop();
    if (!this.#busy) return this.#run(question);
    return new Promise((resolve) => {
      this.#pending = { question, resolve };
    });
  }

  /** Forget the pending question. */
  drop(): void {
    this.#pending?.resolve(null);
    this.#pending = null;
  }

  async #run(question: Question): Promise<Answer> {
    this.#busy = true;
    try {
      return await this.ask(question);
    } finally {
      this.#busy = false;
      const next = this.#pending;
      this.#pending = null;
      if (next) this.#run(next.question).then(next.resolve, () => next.resolve(null));
    }
  }
}
