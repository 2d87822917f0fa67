// Asks again and again: not while nobody looks, and less often while it fails.

export class Poll {
    #ask;
    #everyMs;
    #tell;
    #fails = 0;
    #number = 0;
    #timer;

    // `tell` gets `{ data }` or `{ error }`.
    constructor(ask, everyMs, tell) {
        [this.#ask, this.#everyMs, this.#tell] = [ask, everyMs, tell];
        document.addEventListener("visibilitychange", this.now);
        this.now();
    }

    // Asks at once; an answer to an earlier question is not told any more.
    now = async () => {
        clearTimeout(this.#timer);
        const number = ++this.#number;
        if (document.hidden) return;
        const news = await this.#ask().then(
            (data) => ({ data }),
            (error) => ({ error }),
        );
        if (number !== this.#number) return;
        this.#fails = news.error ? this.#fails + 1 : 0;
        this.#timer = setTimeout(this.now, Math.min(this.#everyMs * 2 ** this.#fails, LONGEST_MS));
        this.#tell(news);
    };

    stop() {
        document.removeEventListener("visibilitychange", this.now);
        clearTimeout(this.#timer);
        this.#number += 1;
    }
}

const LONGEST_MS = 30_000;
