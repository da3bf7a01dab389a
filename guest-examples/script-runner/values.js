// The values that the contract expects from a script. The engine's own error does not say which
// value of which function is wrong.

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
  switch (kind) {
    case 'nothing': return undefined;
    case 'string': return typeof value === 'string' ? undefined : must('a string');
    case 'boolean': return typeof value === 'boolean' ? undefined : must('true or false');
    case 'u32':
      return Number.isInteger(value) && value >= 0 && value <= U32_MAX ? undefined
        : must(`a whole number from 0 to ${U32_MAX}`);
    default:
  }
  if (kind.optional) return absent(value) ? undefined : problem(kind.optional, value, path);
  if (Array.isArray(kind)) {
    if (!Array.isArray(value)) return must('an array');
    for (let i = 0; i < value.length; i += 1) {
      const found = problem(kind[0], value[i], `${path}[${i}]`);
      if (found) return found;
    }
    return undefined;
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
