// What QuickJS lacks and connectors use: console (onto the run's log), TextEncoder, TextDecoder,
// URLSearchParams and structuredClone. Import it first: `import './prelude.js';`.
//
// There is no fetch, timer, crypto, Intl or URL. Requests are sent with `http.send`.
import { log } from 'jackfield:connector/log@0.1.0';

/** How many UTF-16 units or bytes are converted at once: more would need much memory. */
const PIECE = 16384;

function shown(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return `${value}\n${value.stack}`;
  try { return JSON.stringify(value) ?? String(value); } catch { return String(value); }
}
const logger = (level) => (...values) => log(level, values.map(shown).join(' ').toWellFormed());
globalThis.console = {
  debug: logger('debug'), trace: logger('debug'), log: logger('info'), info: logger('info'),
  warn: logger('warn'), error: logger('error'),
};

globalThis.TextEncoder = class TextEncoder {
  get encoding() { return 'utf-8'; }

  encode(input = '') {
    const text = String(input).toWellFormed();
    const pieces = [];
    for (let at = 0, end; at < text.length; at = end) {
      end = Math.min(at + PIECE, text.length);
      const last = text.charCodeAt(end - 1);
      if (last >= 0xd800 && last < 0xdc00) end -= 1; // not between the halves of a character
      const bytes = unescape(encodeURIComponent(text.slice(at, end)));
      pieces.push(Uint8Array.fromBase64(btoa(bytes)));
    }
    const all = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
};

/** Decodes UTF-8 byte by byte; what is not UTF-8 becomes U+FFFD, as the encoding standard says. */
function decodeLeniently(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const first = bytes[at++];
    let more = first < 0x80 ? 0 : first < 0xc2 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : -1;
    if (more < 0) { text += '\ufffd'; continue; }
    let code = more === 0 ? first : first & (0x3f >> more);
    let least = { 0xe0: 0xa0, 0xf0: 0x90 }[first] ?? 0x80;
    let most = { 0xed: 0x9f, 0xf4: 0x8f }[first] ?? 0xbf;
    for (; more > 0 && bytes[at] >= least && bytes[at] <= most; more -= 1) {
      code = (code << 6) | (bytes[at++] & 0x3f);
      [least, most] = [0x80, 0xbf];
    }
    text += more === 0 ? String.fromCodePoint(code) : '\ufffd';
  }
  return text;
}

globalThis.TextDecoder = class TextDecoder {
  #fatal;
  #keepsMark;

  constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
    const known = ['utf-8', 'utf8', 'unicode-1-1-utf-8'];
    if (!known.includes(String(label).trim().toLowerCase())) {
      throw new RangeError(`TextDecoder only knows utf-8, not ${label}`);
    }
    this.#fatal = Boolean(fatal);
    this.#keepsMark = Boolean(ignoreBOM);
  }

  get encoding() { return 'utf-8'; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#keepsMark; }

  decode(input = new Uint8Array(), { stream = false } = {}) {
    if (stream) throw new TypeError('TextDecoder cannot decode a stream');
    const bytes = ArrayBuffer.isView(input)
      ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength) : new Uint8Array(input);
    let text = '';
    for (let at = 0, end; at < bytes.length; at = end) {
      end = Math.min(at + PIECE, bytes.length);
      for (let i = 0; i < 3 && end < bytes.length && (bytes[end] & 0xc0) === 0x80; i += 1) end -= 1;
      const piece = bytes.subarray(at, end);
      try { text += decodeURIComponent(escape(atob(piece.toBase64()))); } catch {
        if (this.#fatal) throw new TypeError('the bytes are not UTF-8');
        text += decodeLeniently(piece);
      }
    }
    return text.startsWith('\ufeff') && !this.#keepsMark ? text.slice(1) : text;
  }
};

const formEncoded = (text) => encodeURIComponent(text.toWellFormed())
  .replace(/[!'()~]/g, (it) => `%${it.charCodeAt(0).toString(16).toUpperCase()}`).replaceAll('%20', '+');
function formDecoded(text) {
  const spaced = text.replaceAll('+', ' ');
  try { return decodeURIComponent(spaced); } catch {
    const bytes = new TextEncoder().encode(spaced);
    const decoded = [];
    for (let at = 0; at < bytes.length; at += 1) {
      const hex = String.fromCharCode(...bytes.subarray(at, at + 3));
      if (/^%[0-9a-f]{2}$/i.test(hex)) { decoded.push(Number.parseInt(hex.slice(1), 16)); at += 2; }
      else decoded.push(bytes[at]);
    }
    return new TextDecoder().decode(new Uint8Array(decoded));
  }
}

globalThis.URLSearchParams = class URLSearchParams {
  #pairs = [];

  constructor(init = '') {
    const pair = ([name, value]) => this.append(name, value);
    if (init !== null && typeof init === 'object') {
      (init[Symbol.iterator] ? [...init] : Object.entries(init)).forEach(pair);
      return;
    }
    for (const part of String(init).replace(/^\?/, '').split('&')) {
      const [name, ...value] = part.split('=');
      if (part) pair([formDecoded(name), formDecoded(value.join('='))]);
    }
  }

  get size() { return this.#pairs.length; }
  append(name, value) { this.#pairs.push([String(name), String(value)]); }
  get(name) { return this.#pairs.find(([it]) => it === String(name))?.[1] ?? null; }
  getAll(name) { return this.#pairs.filter(([it]) => it === String(name)).map(([, value]) => value); }
  has(name, value) {
    return this.#pairs.some(([it, its]) => it === String(name) && (value === undefined || its === String(value)));
  }
  delete(name, value) {
    const stays = ([it, its]) => it !== String(name) || (value !== undefined && its !== String(value));
    this.#pairs = this.#pairs.filter(stays);
  }
  set(name, value) {
    const first = this.#pairs.find(([it]) => it === String(name));
    if (!first) return this.append(name, value);
    first[1] = String(value);
    this.#pairs = this.#pairs.filter((pair) => pair === first || pair[0] !== String(name));
  }
  sort() { this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)); }
  forEach(each, self) { for (const [name, value] of this) each.call(self, value, name, this); }
  *entries() { for (const [name, value] of this.#pairs) yield [name, value]; }
  *keys() { for (const [name] of this.#pairs) yield name; }
  *values() { for (const [, value] of this.#pairs) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  toString() {
    return this.#pairs.map((pair) => pair.map(formEncoded).join('=')).join('&');
  }
};

globalThis.structuredClone = (value) => {
  const copies = new Map();
  const copy = (it) => {
    if (typeof it === 'function' || typeof it === 'symbol') {
      throw new DOMException(`${String(it)} cannot be cloned`, 'DataCloneError');
    }
    if (it === null || typeof it !== 'object') return it;
    if (copies.has(it)) return copies.get(it);
    const made = (to) => { copies.set(it, to); return to; };
    if (it instanceof Date) return made(new Date(it));
    if (it instanceof RegExp) return made(new RegExp(it));
    if (it instanceof ArrayBuffer) return made(it.slice());
    if (ArrayBuffer.isView(it)) {
      const { byteOffset, length = it.byteLength } = it;
      return made(new it.constructor(copy(it.buffer), byteOffset, length));
    }
    if (it instanceof Map) {
      const map = made(new Map());
      for (const [key, its] of it) map.set(copy(key), copy(its));
      return map;
    }
    if (it instanceof Set) {
      const set = made(new Set());
      for (const its of it) set.add(copy(its));
      return set;
    }
    if (it instanceof Error) {
      const error = made(Object.create(Object.getPrototypeOf(it)));
      for (const name of ['message', 'stack', 'cause']) {
        if (Object.hasOwn(it, name)) Object.defineProperty(error, name, { value: copy(it[name]), writable: true, configurable: true });
      }
      return error;
    }
    const to = made(Array.isArray(it) ? new Array(it.length) : {});
    for (const key of Object.keys(it)) to[key] = copy(it[key]);
    return to;
  };
  return copy(value);
};
