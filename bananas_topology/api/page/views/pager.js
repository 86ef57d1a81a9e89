// Pages of a search, one shown at a time: the document stays small however many rows there are.

import { ApiError } from "../api.js";

/** Rows on a page. */
export const PAGE_SIZE = 50;

/** A page of a search may be empty although more follow. So many are read without being asked. */
const MAX_REQUESTS = 5;

/** A page is not read again for this many times as long as reading it took, unless asked for. */
const REST = 10;

export class Pager {
  rows = [];
  /** The cursor of the next page; null at the end. */
  next = null;
  isLoading = false;
  isLoaded = false;
  /** Whether the reader waits for a page, and what was found: not with each automatic reading. */
  isSearching = false;
  found = "";
  /** Why there are no rows, if the search is not valid. */
  problem = "";
  #cursors = [null];
  #read;
  #changed;
  #signal;
  #loading = null;
  #restsUntil = 0;

  /**
   * `read` is called with a cursor, a number of rows and a signal, and resolves to `rows` and
   * `next`; `changed` is called when there is something else to show.
   */
  constructor({ read, changed, signal }) {
    this.#read = read;
    this.#changed = changed;
    this.#signal = signal;
  }

  /** The number of the page, from 1. */
  get number() {
    return this.#cursors.length;
  }

  /** Whether the page may be read again without being asked: rows of later ones would move. */
  get isFollowing() {
    return this.number === 1 && !this.isLoading && performance.now() >= this.#restsUntil;
  }

  /** Read the first page, of another search perhaps. */
  restart() {
    // What was read is of another search.
    Object.assign(this, { rows: [], next: null, isLoaded: false });
    this.#cursors = [null];
    return this.#search([null]);
  }

  /** Read the page again. */
  reload() {
    return this.#load(this.#cursors);
  }

  forward() {
    return this.#search([...this.#cursors, this.next]);
  }

  back() {
    return this.#search(this.#cursors.slice(0, -1));
  }

  async #search(cursors) {
    this.isSearching = true;
    await this.#load(cursors);
    if (this.isLoading) return;
    const more = this.next === null ? "" : ", and more";
    this.found = `Page ${this.number}: ${this.rows.length} found${more}`;
    this.#changed();
  }

  async #load(cursors) {
    this.#loading?.abort();
    const loading = new AbortController();
    this.#loading = loading;
    this.isLoading = true;
    this.#changed();
    const began = performance.now();
    try {
      const found = await this.#collect(
        cursors.at(-1),
        AbortSignal.any([this.#signal, loading.signal]),
      );
      Object.assign(this, found, { isLoaded: true, problem: "" });
      this.#cursors = cursors;
      const now = performance.now();
      this.#restsUntil = now + REST * (now - began);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      // What is between here and Redis is in the header, and the rows are what they were.
      if (!error.isTemporary) Object.assign(this, { rows: [], next: null, problem: error.detail });
    } finally {
      if (this.#loading === loading) {
        this.isLoading = false;
        this.isSearching = false;
        this.#changed();
      }
    }
  }

  async #collect(cursor, signal) {
    const rows = [];
    let next = cursor;
    for (let requests = 0; requests < MAX_REQUESTS; requests++) {
      const page = await this.#read(next, PAGE_SIZE - rows.length, signal);
      rows.push(...page.rows);
      next = page.next;
      if (next === null || rows.length >= PAGE_SIZE) break;
    }
    return { rows, next };
  }
}
