// Redmine connector in JavaScript (QuickJS); the Rust one beside it says more about each decision.
// An exported interface is an exported object, kebab-case turns into camelCase, an absent option is
// undefined, u64 a plain number. An error of the contract is thrown as { tag, val } and caught as
// { payload }; any other exception ends the run, its stack in the run's log.
import { all } from 'jackfield:connector/settings@0.1.0';
import { send } from 'jackfield:connector/http@0.1.0';

const names = (title, value) =>
  ({ type: ['array', 'string'], items: { type: 'string' }, title, default: value });
const SCHEMA = {
  type: 'object', required: ['url', 'project', 'api-key'], additionalProperties: false,
  properties: {
    url: { type: 'string', format: 'uri', title: 'Redmine address', 'jackfield:origin': true },
    project: { type: 'string', pattern: '^[a-z0-9_-]+$', title: 'Project identifier' },
    tracker: { type: 'string', title: 'Name of the tracker' },
    priority: { type: 'string', title: 'Name of the priority of new issues' },
    'critical-priorities': names('Critical priorities', ['Urgent', 'Immediate']),
    'moderate-priorities': names('Moderate priorities', ['High']),
    'marker-field': { type: ['integer', 'string'], title: 'Number of a custom field for the marker' },
    'api-key': { title: 'API key', type: 'string', minLength: 1, writeOnly: true,
      'jackfield:place': { in: 'header', name: 'X-Redmine-API-Key' } },
  },
};
const settings = () => JSON.parse(all());
const fail = (tag, val) => { throw { tag, val }; };
const address = (path, query = []) => settings().url.replace(/\/+$/, '') + path
  + query.map(([name, value], i) => `${i ? '&' : '?'}${name}=${encodeURIComponent(value)}`).join('');
// QuickJS has no TextEncoder and no TextDecoder.
const encode = (text) => Uint8Array.from(unescape(encodeURIComponent(text)), (c) => c.charCodeAt(0));
const decode = (bytes) => {
  let text = ''; // in pieces, since a call takes so many arguments only
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return decodeURIComponent(escape(text));
};

/** One exchange with Redmine; every failure becomes an error of the contract here. */
function exchange(method, path, query, value) {
  let response, answer;
  try {
    response = send({ method, url: address(path, query), body: value && encode(JSON.stringify(value)),
      headers: [['Content-Type', 'application/json']] });
  } catch ({ payload: { tag, val } }) {
    fail(['unreachable', 'interrupted'].includes(tag) ? 'unavailable' : 'internal', val);
  }
  try { answer = JSON.parse(decode(response.body)); } catch { /* told below */ }
  const { status, headers } = response;
  const said = `Redmine answered ${status} to ${path}`;
  if (status < 300) return answer ?? fail('unavailable', `${said} with something that is not JSON`);
  if (status === 401 || status === 403) fail('unauthorized', `${said}: look at the API key's rights`);
  if (status === 429) fail('rate-limited', Number.parseInt(Object.fromEntries(headers)['retry-after']) || 60);
  fail(status < 500 ? 'rejected' : 'unavailable', answer?.errors?.join('; ') || said);
}
const get = (path, ...query) => exchange('get', path, query);
// Redmine serves a wrong key as a stranger who sees little; only this page answers 401 to it.
const currentUser = () => get('/users/current.json').user;
const priorities = () => get('/enumerations/issue_priorities.json').issue_priorities;
const project = () => get(`/projects/${settings().project}.json`, ['include', 'trackers']).project;
/** The number of the one with that name; Redmine would quietly take another. */
function idOf(list, name) {
  const found = list.find((one) => one.name.toLowerCase() === name.trim().toLowerCase());
  return found?.id ?? fail('rejected', `no "${name}" among ${list.map((one) => one.name).join(', ')}`);
}
const carries = (issue, marker, field) => field
  ? issue.custom_fields?.some(({ id, value }) => id === Number(field) && value === marker)
  : issue.description?.includes(marker);
const defect = ({ id, subject, description, status, priority }) => ({
  key: `${id}`, title: subject, link: address(`/issues/${id}`),
  status: status.name, priority: priority.name, description: description ?? undefined,
});

function create({ testExecutionId, testCaseId, variationId, link }, marker) {
  const { project: project_id, tracker, priority, 'marker-field': field } = settings();
  const lines = { 'Test case': testCaseId, 'Test execution': testExecutionId, Variation: variationId,
    'Test case log': link, 'Jackfield marker': field ? undefined : marker };
  const issue = { // JSON leaves out what is undefined
    project_id,
    subject: `Test case ${testCaseId} failed${variationId ? ` (${variationId})` : ''}`.slice(0, 255),
    description: Object.entries(lines).filter(([, text]) => text).map((line) => line.join(': ')).join('\n'),
    tracker_id: tracker && idOf(project().trackers, tracker),
    priority_id: priority && idOf(priorities(), priority),
    custom_fields: field && [{ id: Number(field), value: marker }],
  };
  return defect(exchange('post', '/issues.json', [], { issue }).issue);
}

function find(marker) {
  const field = settings()['marker-field'];
  const filter = field ? [`cf_${field}`, marker] : ['description', `~${marker}`];
  const { issues } = get('/issues.json', ['status_id', '*'], ['sort', 'id'], ['limit', 5], filter);
  if (issues.length === 0) return void currentUser();
  // Redmine ignores a filter that it does not know and returns every issue there is.
  const found = issues.find((issue) => carries(issue, marker, field));
  return found ? defect(found) : fail('unsupported', `Redmine cannot search by ${filter[0]} here`);
}

function count() {
  currentUser();
  const { tracker, ...given } = settings();
  const known = priorities();
  const [critical, moderate] = ['critical-priorities', 'moderate-priorities'].map((key) =>
    [given[key] ?? SCHEMA.properties[key].default].flat().flatMap((name) => name.split(','))
      .filter((name) => name.trim()).map((name) => idOf(known, name)).join('|'));
  const page = `/projects/${given.project}/issues`;
  const scope = tracker ? [['tracker_id', idOf(project().trackers, tracker)]] : [];
  const total = (status, ids) => ids === '' ? 0 : get(`${page}.json`, ...scope, ['status_id', status],
    ...(ids ? [['priority_id', ids]] : []), ['limit', 1]).total_count;
  const shown = [...scope, ['set_filter', 1], ['status_id', 'open'], ['priority_id', critical]];
  return { open: total('open'), closed: total('closed'), critical: total('open', critical),
    moderate: total('open', moderate), criticalLink: critical ? address(page, shown) : undefined };
}

export const plugin = {
  describe: () => ({ name: 'Redmine (JavaScript)', version: '0.1.0', settleSeconds: 0,
    summary: 'Creates, finds and counts Redmine issues.', settings: JSON.stringify(SCHEMA) }),
  check: () => `${address('')} as ${currentUser().login}, ${count().open} open issues in ${project().name}`,
  choices: (setting) => fail('unsupported', `no list of values for ${setting}`),
};
export const defects = { create, find };
export const kpis = { count };
