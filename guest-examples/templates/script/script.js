// @ts-check
// A connector for a small tracker, as one file that needs no build.
//
// Each exported interface is an exported object. A name in kebab-case becomes camelCase. An option without
// a value is undefined. `fail` throws an error of the contract. Any other exception ends the run, and the
// run's log shows its stack. No function is async: `send` returns when the tracker has answered.
import { send } from 'jackfield:connector/http@0.1.0';
import { description, title } from 'jackfield:connector/report@0.1.0';
import { all } from 'jackfield:connector/settings@0.1.0';

/** The connector never receives the API key: the host adds the header to each request. */
const schema = {
  type: 'object', required: ['url', 'project', 'api-key'], additionalProperties: false,
  properties: {
    url: { type: 'string', format: 'uri', title: 'Tracker address', 'jackfield:origin': true,
      description: 'Address of the tracker\'s start page, for example https://tracker.example.com.' },
    project: { type: 'string', pattern: '^[a-z0-9_-]+$', title: 'Project', description: 'Identifier of the project.' },
    critical: { type: 'array', items: { type: 'string' }, default: ['Urgent', 'Immediate'], minItems: 1,
      title: 'Critical priorities', description: 'Open issues of these priorities count as critical; all other open issues as moderate.' },
    'api-key': { type: 'string', minLength: 4, writeOnly: true, title: 'API key', description: 'Key of a user who may create issues.',
      'jackfield:place': { in: 'header', name: 'X-Redmine-API-Key' } },
  },
};
/** Returns the settings with the default of the schema, which the host does not add. */
const settings = () => ({ critical: schema.properties.critical.default, ...JSON.parse(all()) });
/** Ends the call with an error of the contract. */
const fail = (code, message, more = {}) => { throw { code, message, ...more }; };

/** Sends a request, and returns the member `wanted` of its answer. If there is none, the error says what to do. */
function ask(method, path, wanted, query = {}, json = undefined) {
  let response, answer;
  /** @type {import('jackfield:connector/http@0.1.0').Body} */
  const body = json && { tag: 'json', val: JSON.stringify(json) };
  /** @type {[string, string][]} */
  const pairs = Object.entries(query).map(([name, value]) => [name, `${value}`]);
  try { response = send({ method, url: path, query: pairs, headers: [], body }); } catch (error) {
    if (!error.payload) throw error; // The request itself is wrong.
    fail(['unreachable', 'interrupted'].includes(error.payload.tag) ? 'unavailable' : 'internal', error.payload.val);
  }
  try { answer = JSON.parse(response.text); } catch { /* The answer is not JSON. An error follows below. */ }
  const { status, headers } = response, header = Object.fromEntries(headers);
  const isPage = /^\s*</.test(response.text ?? ''), plain = answer || isPage ? [] : response.text?.slice(0, 300) || [];
  const answered = [`The tracker answered ${status} to ${path}`, answer?.errors ?? plain].flat().join('; ');
  const why = `${answered}, but not with the expected JSON: is this the tracker's address?`;
  if (status < 300) return answer?.[wanted] ?? fail('unavailable', why, { setting: 'url' });
  if (status === 401) fail('unauthorized', `${answered}. Is the key right?`, { setting: 'api-key' });
  if (status === 403) fail('unauthorized', `${answered}. Does the key's user have the right to do this?`);
  if (status === 404 && isPage) fail('rejected', `${answered}. Is this the tracker's address?`, { setting: 'url' });
  if (status === 429) fail('rate-limited', answered, { retryAfterSeconds: seconds(header['retry-after'], header.date) });
  return fail(status < 500 ? 'rejected' : 'unavailable', answered);
}
/** Returns the wait that `Retry-After` requests. The header is a number of seconds or a time. */
const seconds = (wait, now) => /^\d+$/.test(wait) ? Number(wait)
  : Math.max(0, Math.round((Date.parse(wait) - Date.parse(now)) / 1000)) || undefined;

const page = (path) => settings().url.replace(/\/+$/, '') + path;
/** Returns the user of the API key. A tracker may answer other requests even if this key is wrong. */
const user = () => ask('get', '/users/current.json', 'user').login;
const defect = ({ id, subject, description, status, priority }) => ({
  key: `${id}`, title: subject, link: page(`/issues/${id}`), status: status?.name, priority: priority?.name, description,
});

/** @type {typeof import('jackfield:connector/plugin@0.1.0')} */
export const plugin = {
  describe: () => ({ name: 'Sample tracker', version: '0.1.0', settings: JSON.stringify(schema),
    summary: 'Creates, finds and counts issues of a small tracker.', indexDelaySeconds: 0 }),
  check: () => `reached as ${user()}, ${kpis.count('').open} open issues`,
  choices: (setting) => fail('unsupported', `${setting} has no list of values`),
};

/** @type {typeof import('jackfield:connector/defects@0.1.0')} */
export const defects = {
  /** Reads the report, then sends the only write. So no issue exists if an earlier step fails. */
  create(_test, marker) {
    const issue = { description: description('markdown', 16000, marker), project_id: settings().project, subject: title(255) };
    return defect(ask('post', '/issues.json', 'issue', {}, { issue }));
  },
  find(marker) {
    const issues = ask('get', '/issues.json', 'issues', { status_id: '*', limit: 5, description: `~${marker}` });
    if (issues.length === 0) user(); // The list is also empty if the API key is wrong. Then this request fails.
    if (issues.every((issue) => issue.description?.includes(marker))) return issues.map(defect);
    return fail('unsupported', 'the tracker ignores the search for the marker');
  },
};

/** @type {typeof import('jackfield:connector/kpis@0.1.0')} */
export const kpis = {
  count(_project) {
    user();
    const known = ask('get', '/enumerations/issue_priorities.json', 'issue_priorities');
    const ids = settings().critical.map((name) => known.find((it) => it.name === name)?.id
      ?? fail('rejected', `the tracker has no priority ${name}`, { setting: 'critical' })).join('|');
    const path = `/projects/${settings().project}/issues`;
    const count = (filter) => ask('get', `${path}.json`, 'total_count', { ...filter, limit: 1 });
    const open = count({ status_id: 'open' }), critical = count({ status_id: 'open', priority_id: ids });
    return { open, critical, closed: count({ status_id: 'closed' }), moderate: Math.max(0, open - critical),
      criticalLink: page(`${path}?status_id=open&priority_id=${encodeURIComponent(ids)}`) };
  },
};
