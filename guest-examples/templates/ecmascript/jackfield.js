// @ts-check
// What every connector in JavaScript and TypeScript needs: typed settings, requests with JSON answers,
// and errors that say what to do.
import './prelude.js';
import { send } from 'jackfield:connector/http@0.1.0';
import { all } from 'jackfield:connector/settings@0.1.0';

/** @typedef {import('jackfield:connector/model@0.1.0').ErrorCode} ErrorCode */
/** @typedef {string | number | boolean} Value */

/**
 * What a request may have.
 * @typedef {object} More
 * @property {Record<string, Value | undefined>} [query] Parameters; without those that are undefined.
 * @property {unknown} [json] The body, as JSON.
 * @property {Record<string, Value>} [form] The body, as the fields of a form.
 * @property {import('jackfield:connector/http@0.1.0').Body} [body] Any other body of the contract.
 * @property {Record<string, string>} [headers]
 * @property {import('jackfield:connector/http@0.1.0').Effect} [effect] If it does not follow from the method.
 */

/**
 * Ends the call with an error of the contract.
 * @param {ErrorCode} code
 * @param {string} message Says what to change.
 * @param {{ setting?: string, retryAfterSeconds?: number, status?: number }} [more]
 * @returns {never}
 */
export function fail(code, message, more = {}) {
  throw { code, message, ...more };
}

/**
 * The connection's settings, with the defaults of the schema, which the host does not fill in.
 * @template T
 * @param {{ properties: Record<string, any> }} schema
 * @returns {T}
 */
export function settings(schema) {
  const defaults = Object.entries(schema.properties)
    .filter(([, setting]) => setting.default !== undefined)
    .map(([name, setting]) => [name, setting.default]);
  return { ...Object.fromEntries(defaults), ...JSON.parse(all()) };
}

/**
 * The part of an answer at a path such as "/user/login". Without it, the answer is not the tracker's.
 * @param {any} answer
 * @param {string} path An empty one means the whole answer.
 * @returns {any}
 */
export function part(answer, path) {
  return at(answer, path) ?? fail('unavailable', `the tracker's answer has no ${path}; is its address right?`);
}

/** @type {(answer: any, path: string) => any} */
const at = (answer, path) => path.split('/').slice(1).reduce((value, name) => value?.[name], answer);

/**
 * The address of a page that people open.
 * @param {string} base The tracker's address, as the settings have it.
 * @param {string} path Already percent-encoded.
 * @param {Record<string, Value | undefined>} [query]
 */
export function page(base, path, query = {}) {
  const parameters = pairs(query).map((pair) => pair.map(encodeURIComponent).join('='));
  return base.replace(/\/+$/, '') + path + (parameters.length ? `?${parameters.join('&')}` : '');
}

/**
 * The id of the record with this name. An unknown name is an error: if it were ignored, a count would
 * be zero, without an error.
 * @param {{ id: number, name: string }[]} records
 * @param {string} name
 * @param {string} setting
 */
export function idOf(records, name, setting) {
  const found = records.find((it) => it.name.toLowerCase() === name.trim().toLowerCase());
  const names = records.map((it) => it.name).join(', ');
  return found?.id ?? fail('rejected', `"${name}" does not exist; there is: ${names}`, { setting });
}

/**
 * A tracker with a JSON API. Paths are below the address of the setting, and percent-encoded.
 * @param {object} names What error messages say.
 * @param {string} names.name The tracker.
 * @param {string} names.address The setting with its address.
 * @param {string} names.secret The setting with the credentials.
 * @param {string | ((refusal: any) => string[])} names.words The place in a refusal that explains it, a
 *   text or a list of texts ("/errors", "/error/msg"), or a function that returns the texts. A refusal
 *   that is plain text explains itself.
 * @param {Record<string, string>} [names.headers] Headers of each request.
 * @param {(response: import('jackfield:connector/http@0.1.0').Response, answered: string) => void} [names.inspect]
 *   Looks at each answer first, and fails if the tracker has its own way to refuse a request.
 */
export function tracker({ name, address, secret, words, headers: common, inspect }) {
  /**
   * Sends a request. Every answer without success is an error; an answer without a body is undefined.
   * @param {import('jackfield:connector/http@0.1.0').Method} method
   * @param {string} path
   * @param {More} [more]
   * @returns {any}
   */
  function request(method, path, more = {}) {
    const { query = {}, headers = {}, effect } = more;
    const sent = { method, effect, url: path, query: pairs(query), headers: pairs({ ...common, ...headers }), body: bodyOf(more) };
    const response = exchange(sent);
    const { status, text } = response;
    const answer = parsed(text);
    const reasons = answer === undefined ? plain(text) : reasonsOf(answer);
    const reason = [reasons].flat().filter((it) => typeof it === 'string' && it).join('; ');
    const answered = `${name} answered ${status} to ${path}`;
    const explained = reason ? `${answered}: ${reason}` : answered;
    inspect?.(response, explained);
    if (status >= 200 && status < 300) {
      if (answer !== undefined || !text) return answer;
      const why = `${answered}, but not with JSON; is this the address of ${name}?`;
      return fail('unavailable', why, { setting: address });
    }
    return refuse(response, explained);
  }

  /** @type {(answer: any) => any} */
  const reasonsOf = (answer) => (typeof words === 'string' ? at(answer, words) : words(answer));

  /**
   * @param {import('jackfield:connector/http@0.1.0').Response} response
   * @param {string} answered
   * @returns {never}
   */
  function refuse({ status, headers, text }, answered) {
    const header = (/** @type {string} */ wanted) => headers.find(([key]) => key === wanted)?.[1];
    if (status === 401) {
      fail('unauthorized', `${answered}. Are the credentials right?`, { status, setting: secret });
    }
    if (status === 403) {
      fail('unauthorized', `${answered}. Does the user of the credentials have the right to do this?`, { status });
    }
    if (status === 404) {
      const why = `${answered}. It does not exist, or the user of the credentials cannot see it`;
      if (isPage(text)) fail('rejected', `${why}; is this the address of ${name}?`, { status, setting: address });
      fail('rejected', why, { status });
    }
    if (status === 429) {
      const retryAfterSeconds = secondsUntil(header('retry-after'), header('date'));
      fail('rate-limited', answered, { status, retryAfterSeconds });
    }
    if (status < 400 && header('location')) {
      fail('rejected', `${answered} and redirects to ${header('location')}`, { status, setting: address });
    }
    return fail(status < 500 ? 'rejected' : 'unavailable', answered, { status });
  }

  return {
    request,
    /** The part of an answer. @type {(path: string, wanted: string, query?: More['query']) => any} */
    get: (path, wanted, query) => part(request('get', path, { query }), wanted),
    /** A write; returns a part of its answer. @type {(path: string, wanted: string, json: unknown) => any} */
    post: (path, wanted, json) => part(request('post', path, { json }), wanted),
    /** A write. @type {(path: string, json: unknown) => any} */
    put: (path, json) => request('put', path, { json }),
  };
}

/**
 * @param {import('jackfield:connector/http@0.1.0').Request} request
 * @returns {import('jackfield:connector/http@0.1.0').Response}
 */
function exchange(request) {
  try {
    return send(request);
  } catch (error) {
    const { payload } = /** @type {any} */ (error);
    if (!payload) throw error;
    const isDown = ['unreachable', 'interrupted'].includes(payload.tag);
    return fail(isDown ? 'unavailable' : 'internal', payload.val);
  }
}

/**
 * @param {More} more
 * @returns {import('jackfield:connector/http@0.1.0').Body | undefined}
 */
function bodyOf({ json, form, body }) {
  if (json !== undefined) return { tag: 'json', val: JSON.stringify(json) };
  return form ? { tag: 'form', val: pairs(form) } : body;
}

/**
 * @param {Record<string, Value | undefined>} object
 * @returns {[string, string][]}
 */
function pairs(object) {
  const given = Object.entries(object).filter(([, value]) => value !== undefined);
  return given.map(([name, value]) => [name, `${value}`]);
}

/** Whether an answer is a page for people. @param {string | undefined} text */
const isPage = (text) => /^\s*</.test(text ?? '');

/** The begin of a refusal that is plain text. @param {string | undefined} text */
const plain = (text) => (isPage(text) ? undefined : text?.trim().slice(0, 300) || undefined);

/** @param {string | undefined} text */
function parsed(text) {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined; // not JSON: the caller says so
  }
}

/**
 * The seconds of `Retry-After`, which is a number or a time. A time is compared with the time of the
 * answer, because the clocks of the tracker and of this machine may differ.
 * @param {string | undefined} wait
 * @param {string | undefined} answered
 */
function secondsUntil(wait, answered) {
  if (/^\s*\d+\s*$/.test(wait ?? '')) return Number(wait);
  const [until, now] = [Date.parse(wait ?? ''), Date.parse(answered ?? '')];
  if (Number.isNaN(until)) return undefined;
  return Math.max(0, Math.round((until - (Number.isNaN(now) ? Date.now() : now)) / 1000));
}
