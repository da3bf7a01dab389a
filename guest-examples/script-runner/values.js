// The values that the contract expects from a script: what its functions return and throw, and what
// it gives to the functions that it imports. The engine's own error ends the call, and does not say
// which value of which function is wrong.

const CODES = ['rejected', 'unauthorized', 'unavailable', 'rate-limited', 'unsupported', 'internal'];
const U32_MAX = 4294967295;

const absent = (value) => value === undefined || value === null;
const optional = (kind) => ({ optional: kind });
const defect = {
  key: 'string', title: 'string', link: 'string', status: optional('string'),
  priority: optional('string'), description: optional('string'),
};

/** The functions of each interface, and what each returns. */
export const INTERFACES = {
  plugin: {
    describe: { name: 'string', version: 'string', summary: 'string', homepage: optional('string'),
      settings: 'string', indexDelaySeconds: optional('u32') },
    check: 'string',
    choices: { choices: [{ value: 'string', label: 'string' }], more: 'boolean' },
  },
  defects: { create: defect, find: [defect] },
  kpis: {
    count: { open: 'u32', closed: 'u32', critical: 'u32', moderate: 'u32', criticalLink: optional('string') },
  },
  followUp: {
    state: optional({ defect, open: 'boolean' }), comment: 'nothing', findComment: 'boolean',
    reopen: 'nothing', attach: 'nothing', attached: ['string'],
  },
};

const pairs = { pairs: true };
const content = { bytes: 'bytes', text: 'string', attachment: 'u32' };
const part = { name: 'string', fileName: optional('string'), mediaType: optional('string'), content: { variant: content } };

/** The functions of each interface that a script can import, and the parameters of each. */
export const IMPORTS = {
  http: {
    send: { request: {
      method: { oneOf: ['get', 'head', 'options', 'post', 'put', 'patch', 'delete'] },
      effect: optional({ oneOf: ['read', 'prepare', 'write'] }),
      base: optional('string'), url: 'string', query: optional(pairs), headers: optional(pairs),
      body: optional({ variant: { bytes: 'bytes', json: 'string', form: pairs, multipart: [part], attachment: 'u32' } }),
    } },
  },
  log: { log: { level: { oneOf: ['debug', 'info', 'warn', 'error'] }, message: 'string' } },
  report: {
    title: { maxCharacters: 'u32' },
    description: { markup: 'string', maxCharacters: 'u32', marker: optional('string') },
    comment: { markup: 'string', maxCharacters: 'u32', marker: 'string' },
    fields: {}, attachments: {}, read: { id: 'u32' },
  },
  settings: { get: { key: 'string' }, all: {} },
  'test-manager': { get: { subject: 'string' } },
};

function shown(value) {
  if (value === undefined) return 'missing';
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint') return `the BigInt ${value}`;
  let text;
  try { text = JSON.stringify(value); } catch { /* cyclic */ }
  text ??= String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** Says what is wrong with a value of this kind; undefined if nothing is. */
function problem(kind, value, path) {
  const must = (what) => `${path ? `\`${path}\`` : 'it'} must be ${what}, but is ${shown(value)}`;
  const below = (name) => (path ? `${path}.${name}` : name);
  const each = (its) => {
    for (let i = 0; i < value.length; i += 1) {
      const found = problem(its, value[i], `${path}[${i}]`);
      if (found) return found;
    }
    return undefined;
  };
  switch (kind) {
    case 'nothing': return undefined;
    case 'string':
      if (typeof value !== 'string') return must('a string');
      return value.isWellFormed() ? undefined : must('a text without halves of characters (see isWellFormed)');
    case 'boolean': return typeof value === 'boolean' ? undefined : must('true or false');
    case 'u32':
      return Number.isInteger(value) && value >= 0 && value <= U32_MAX ? undefined
        : must(`a whole number from 0 to ${U32_MAX}`);
    case 'byte':
      return Number.isInteger(value) && value >= 0 && value <= 255 ? undefined : must('a byte');
    case 'bytes':
      if (value instanceof Uint8Array) return undefined;
      return Array.isArray(value) ? each('byte') : must('a Uint8Array');
    case 'pair':
      return Array.isArray(value) && value.length === 2 ? each('string') : must('a pair [name, value]');
    default:
  }
  if (kind.oneOf) return kind.oneOf.includes(value) ? undefined : must(`one of ${kind.oneOf.join(', ')}`);
  if (kind.pairs) return Array.isArray(value) ? each('pair') : must('an array of pairs [name, value]');
  if (kind.variant) {
    const tags = Object.keys(kind.variant);
    if (absent(value) || typeof value !== 'object') return must(`{ tag, val } with a tag of ${tags.join(', ')}`);
    return problem({ oneOf: tags }, value.tag, below('tag')) ?? problem(kind.variant[value.tag], value.val, below('val'));
  }
  if (kind.optional) return absent(value) ? undefined : problem(kind.optional, value, path);
  if (Array.isArray(kind)) {
    return Array.isArray(value) ? each(kind[0]) : must('an array');
  }
  if (absent(value) || typeof value !== 'object') return must('an object');
  for (const [name, its] of Object.entries(kind)) {
    const found = problem(its, value[name], below(name));
    if (found) return found;
  }
  return undefined;
}

/** Returns the value that a function returned, if the contract allows it. */
export function checked(name, kind, value) {
  if (typeof value?.then === 'function') {
    throw new TypeError(`\`${name}\` returned a promise; it must not be async, as a request ends within \`send\``);
  }
  const found = problem(kind, value, '');
  if (found) throw new TypeError(`\`${name}\` returned a wrong value: ${found}`);
  return value;
}

/** Whether a script threw an error of the contract. Throws if it is meant as one and is wrong. */
export function isError(name, thrown) {
  if (thrown instanceof Error) return false;
  if (absent(thrown) || typeof thrown !== 'object' || !('code' in thrown)) {
    throw new TypeError(`\`${name}\` threw ${shown(thrown)}; throw { code, message } or an Error`);
  }
  const kind = { message: 'string', setting: optional('string'), retryAfterSeconds: optional('u32') };
  const found = CODES.includes(thrown.code) ? problem(kind, thrown, '')
    : `\`code\` must be one of ${CODES.join(', ')}, but is ${shown(thrown.code)}`;
  if (found) throw new TypeError(`\`${name}\` threw a wrong error: ${found}`);
  return true;
}

/** The function of an interface, which throws if the script gives it a wrong value. */
export function guarded(name, parameters, real) {
  return (...values) => {
    // All of them, as the engine wants each one, also an absent option.
    const given = Object.entries(parameters).map(([parameter, kind], i) => {
      // The members of a request are named without the request.
      const path = parameter === 'request' && values[i] && typeof values[i] === 'object' ? '' : parameter;
      const found = problem(kind, values[i], path);
      if (found) throw new TypeError(`\`${name}\`: ${found}`);
      return values[i];
    });
    if (name !== 'send') return real(...given);
    const request = Object.fromEntries(Object.keys(parameters.request).map((it) => [it, given[0][it]]));
    return real({ ...request, query: request.query ?? [], headers: request.headers ?? [] });
  };
}
