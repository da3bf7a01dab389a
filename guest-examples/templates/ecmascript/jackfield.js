// @ts-check
// A library for connectors in JavaScript and TypeScript. Its functions read the settings with their
// defaults, send requests, read JSON answers, and create the errors that a call returns.
import './prelude.js';
import { send } from 'jackfield:connector/http@0.1.0';
import { all } from 'jackfield:connector/settings@0.1.0';

/** @typedef {import('jackfield:connector/model@0.1.0').ErrorCode} ErrorCode */
/** @typedef {string | number | boolean} Value */

/**
 * The optional parts of a request.
 * @typedef {object} More
 * @property {Record<string, Value | undefined>} [query] The parameters. Those whose value is undefined are left out.
 * @property {unknown} [json] A JSON body.
 * @property {Record<string, Value>} [form] The fields of a form, which is the body.
 * @property {import('jackfield:connector/http@0.1.0').Body} [body] Any other body of the contract.
 * @property {Record<string, string>} [headers]
 * @property {import('jackfield:connector/http@0.1.0').Effect} [effect] Needed if the effect does not follow from the method.
 */

/**
 * Ends the call with an error of the contract.
 * @param {ErrorCode} code
 * @param {string} message What is wrong, and what to change.
 * @param {{ setting?: string, retryAfterSeconds?: number, status?: number }} [more]
 * @returns {never}
 */
export function fail(code, message, more = {}) {
  throw { code, message, ...more };
}

/**
 * Returns the connection's settings, with the defaults of the schema. The host does not add the defaults.
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
 * Returns the part of an answer at a path such as "/user/login". A missing part is an error, because the
 * answer is not that of the expected tracker then.
 * @param {any} answer
 * @param {string} path An empty path means the whole answer.
 * @returns {any}
 */
export function part(answer, path) {
  return at(answer, path) ?? fail('unavailable', `the tracker's answer has no ${path}; is the address right?`);
}

/** @type {(answer: any, path: string) => any} */
const at = (answer, path) => path.split('/').slice(1).reduce((value, name) => value?.[name], answer);

/**
 * Returns the address of a page for people.
 * @param {string} base The tracker's address in the settings.
 * @param {string} path Already percent-encoded.
 * @param {Record<string, Value | undefined>} [query]
 */
export function page(base, path, query = {}) {
  const parameters = pairs(query).map((pair) => pair.map(encodeURIComponent).join('='));
  return base.replace(/\/+$/, '') + path + (parameters.length ? `?${parameters.join('&')}` : '');
}

/**
 * Returns the id of the record that has this name. An unknown name is an error. Otherwise a count would be
 * zero, and no person would notice.
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
 * Returns functions that send requests to a tracker with a JSON API. The paths of requests are relative to
 * the tracker's address, and percent-encoded.
 * @param {object} names The names that error messages contain, and the behaviour of the tracker.
 * @param {string} names.name The name of the tracker.
 * @param {string} names.address The name of the setting that contains the tracker's address.
 * @param {string} names.secret The name of the setting that contains the credentials.
 * @param {string | ((refusal: any) => string[])} names.reasons The path of the reasons in a refusal, such as
 *   "/errors", or a function that returns the reasons. The reasons are a text or a list of texts. If a
 *   refusal is plain text, the beginning of this text is the reason.
 * @param {Record<string, string>} [names.headers] The headers of each request.
 * @param {(response: import('jackfield:connector/http@0.1.0').Response, answered: string) => void} [names.inspect]
 *   A function that is called with each answer, and with a text about it that an error can contain. It must
 *   fail if the answer refuses the request in a way that only this tracker uses.
 */
export function tracker({ name, address, secret, reasons, headers: common, inspect }) {
  /**
   * Sends a request, and returns the JSON answer. An answer with another status than 2xx is an error. For
   * an answer without a body, returns undefined.
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
  const reasonsOf = (answer) => (typeof reasons === 'string' ? at(answer, reasons) : reasons(answer));

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
    /** Sends a GET request, and returns a part of its answer. @type {(path: string, wanted: string, query?: More['query']) => any} */
    get: (path, wanted, query) => part(request('get', path, { query }), wanted),
    /** Sends a POST request, which is a write, and returns a part of its answer. @type {(path: string, wanted: string, json: unknown) => any} */
    post: (path, wanted, json) => part(request('post', path, { json }), wanted),
    /** Sends a PUT request, which is a write. @type {(path: string, json: unknown) => any} */
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

/** Whether an answer is a page of HTML. @param {string | undefined} text */
const isPage = (text) => /^\s*</.test(text ?? '');

/** Returns the beginning of a refusal that is plain text. @param {string | undefined} text */
const plain = (text) =>
  isPage(text) ? undefined : [...(text ?? '').trim().slice(0, 600)].slice(0, 300).join('') || undefined;

/** @param {string | undefined} text */
function parsed(text) {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined; // The text is not JSON. The caller makes an error.
  }
}

/**
 * Returns the wait that the header `Retry-After` requests. The header is a number of seconds or a time. A
 * time is compared with the time of the answer, because the clocks of the tracker and of this machine may
 * differ. If the answer has no time, this machine's clock is used.
 * @param {string | undefined} wait
 * @param {string | undefined} answered
 */
function secondsUntil(wait, answered) {
  if (/^\s*\d+\s*$/.test(wait ?? '')) return Number(wait);
  const [until, now] = [Date.parse(wait ?? ''), Date.parse(answered ?? '')];
  if (Number.isNaN(until)) return undefined;
  return Math.max(0, Math.round((until - (Number.isNaN(now) ? Date.now() : now)) / 1000));
}
