// The format of server-sent events, as in the HTML standard. Pure.

/** Turns the text of an event stream into events, however it is cut into pieces. */
export class EventParser {
  #rest = "";
  #name = "";
  #data = [];

  /** `lastId` is that of the last event, of an earlier connection perhaps; or null. */
  constructor(lastId = null) {
    this.lastId = lastId;
  }

  /** Take more text; returns the events that it completes: their name and data. */
  feed(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    return lines.map((line) => this.#take(line)).filter(Boolean);
  }

  #take(line) {
    if (line === "") return this.#finish();
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.lastId = value;
    return null;
  }

  #finish() {
    const event = { name: this.#name || "message", data: this.#data.join("\n") };
    const isEmpty = this.#data.length === 0;
    this.#name = "";
    this.#data = [];
    return isEmpty ? null : event;
  }
}
