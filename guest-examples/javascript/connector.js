// Redmine connector in JavaScript (QuickJS).
//
// The contract in JavaScript: each exported interface is an exported object. A name in kebab-case becomes
// camelCase. An option without a value is undefined. To return an error of the contract, throw
// { code, message }. If an import returns an error, the caught exception contains it in `payload`. Any
// other exception ends the run, and the run's log shows its stack.
import { all } from 'jackfield:connector/settings@0.1.0';
import { send } from 'jackfield:connector/http@0.1.0';
import * as report from 'jackfield:connector/report@0.1.0';

const namesProperty = (title, value) =>
  ({ type: 'array', items: { type: 'string' }, title, default: value,
    description: 'Names of priorities. If the list is empty, no issue is counted.' });
const SCHEMA = {
  type: 'object', required: ['url', 'project', 'api-key'], additionalProperties: false,
  properties: {
    url: { type: 'string', format: 'uri', title: 'Redmine address', 'jackfield:origin': true,
      description: 'Address of the start page, for example https://redmine.example.com.' },
    project: { type: 'string', pattern: '^[a-z0-9_-]+$', title: 'Project',
      description: 'Identifier of the project, as shown in its address: /projects/IDENTIFIER.' },
    tracker: { type: 'string', title: 'Tracker',
      description: 'Name of the tracker of new issues. Only its issues are counted. If not set, new '
        + 'issues have the first tracker of the project, and all issues are counted.' },
    priority: { type: 'string', title: 'Priority',
      description: 'Name of the priority of new issues. If not set, Redmine chooses it.' },
    'critical-priorities': namesProperty('Critical priorities', ['Urgent', 'Immediate']),
    'moderate-priorities': namesProperty('Moderate priorities', ['High']),
    'marker-field': { type: ['integer', 'string'], title: 'Marker field',
      description: 'Id of a custom field for the marker. If not set, the marker is in the description.' },
    markup: { type: 'string', enum: ['textile', 'markdown'], default: 'textile', title: 'Text formatting',
      description: 'As in Administration, Settings, General. For CommonMark Markdown, choose markdown.' },
    'api-key': { title: 'API key', description: 'Shown on the user\'s page "My account".',
      type: 'string', minLength: 1, writeOnly: true,
      'jackfield:place': { in: 'header', name: 'X-Redmine-API-Key' } },
  },
};
const settings = () => JSON.parse(all());
const fail = (code, message, more = {}) => { throw { code, message, ...more }; };
const address = (path, query = []) => settings().url.replace(/\/+$/, '') + path
  + query.map(([name, value], i) => `${i ? '&' : '?'}${name}=${encodeURIComponent(value)}`).join('');

/** Sends one request to Redmine. Throws each failure as an error of the contract. */
function exchange(method, path, query, body, more = { headers: [] }) {
  let response, answer;
  try {
    response = send({ method, url: path, query: query.map(([name, it]) => [name, `${it}`]), body, ...more });
  } catch (error) {
    if (!error.payload) throw error;
    const { tag, val } = error.payload;
    fail(['unreachable', 'interrupted'].includes(tag) ? 'unavailable' : 'internal', val);
  }
  try { answer = JSON.parse(response.text); } catch { /* The answer is not JSON. An error follows below. */ }
  const { status, headers } = response;
  const answered = `Redmine answered ${status} to ${path}`;
  if (status === 204) return undefined;
  if (status < 300) return answer ?? fail('unavailable', `${answered}, but not with JSON`);
  if ([401, 403].includes(status)) fail('unauthorized', `${answered}: check the API key and its rights`);
  if (status === 429) fail('rate-limited', answered, { retryAfterSeconds: seconds(Object.fromEntries(headers)) });
  const words = [answer?.errors ?? []].flat().join('; ');
  fail(status < 500 ? 'rejected' : 'unavailable', words || answered, { status });
}
/** Returns the wait that a rate limit requests. The header is a number of seconds or a date. */
function seconds({ 'retry-after': wait, date }) {
  if (/^\d+$/.test(wait)) return Number(wait);
  const milliseconds = Date.parse(wait) - (Date.parse(date) || Date.now());
  return milliseconds > 0 ? Math.ceil(milliseconds / 1000) : undefined;
}
/** Returns one member of an answer. If it is missing, the tracker is not a Redmine: that is not a connector bug. */
const member = (answer, name) => answer?.[name]
  ?? fail('unavailable', `the answer has no member "${name}": is the setting url the address of a Redmine?`);
const get = (path, name, ...query) => member(exchange('get', path, query), name);
const put = (key, issue) => exchange('put', `/issues/${key}.json`, [], json({ issue }));
const json = (value) => ({ tag: 'json', val: JSON.stringify(value) }); // leaves out undefined members
// If the API key is wrong, Redmine answers only this request with 401. It answers other requests as requests of
// an anonymous visitor.
const currentUser = () => get('/users/current.json', 'user');
const priorities = () => get('/enumerations/issue_priorities.json', 'issue_priorities');
const project = (part) => get(`/projects/${settings().project}.json`, 'project', ['include', part])[part];
/**
 * A project lists only the custom fields that were added to it. Issues also contain the custom
 * fields for all projects.
 */
const customFields = () => [...project('issue_custom_fields'),
  ...get('/issues.json', 'issues', ['status_id', '*'], ['sort', 'id:desc'], ['limit', 25])
    .flatMap((issue) => issue.custom_fields ?? [])];
const read = (key, include) => get(`/issues/${key}.json`, 'issue', ['include', include]);
const markup = () => settings().markup ?? SCHEMA.properties.markup.default;
const TEXT_CHARS_MAX = 16000; // A text of this length fits into the column of every database that Redmine supports.
const MEMBERS = ['assigned_to_id', 'category_id', 'due_date', 'fixed_version_id'];

/** Returns the id of the record with this name. Refuses an unknown name: Redmine would use another record. */
function idOf(records, name) {
  const found = records.find((record) => record.name.toLowerCase() === name.trim().toLowerCase());
  const names = records.map((record) => record.name).join(', ');
  return found?.id ?? fail('rejected', `a setting names "${name}", but Redmine has only: ${names}`);
}
const contains = (issue, marker, field) => field
  ? issue.custom_fields?.some(({ id, value }) => id === Number(field) && value === marker)
  : issue.description?.includes(marker);
const defect = ({ id, subject, description, status, priority }) => ({
  key: `${id}`, title: subject, link: address(`/issues/${id}`),
  status: status.name, priority: priority.name, description: description ?? undefined,
});

/** Uploads an attachment of the report. A later create or update must name the upload to attach the file. */
function upload({ id, name, mediaType }) {
  const headers = [['content-type', 'application/octet-stream']];
  const answer = exchange('post', '/uploads.json', [['filename', name]],
    { tag: 'attachment', val: id }, { effect: 'prepare', headers });
  return { token: member(answer, 'upload').token, filename: name, content_type: mediaType };
}

/** If a field cannot be set or a file cannot be attached, the description says so, and the issue is created. */
function create(test, marker) {
  const { project: project_id, tracker, priority, 'marker-field': field } = settings();
  const issue = { project_id, subject: report.title(255), uploads: [],
    custom_fields: field ? [{ id: Number(field), value: marker }] : [],
    tracker_id: tracker && idOf(project('trackers'), tracker),
    priority_id: priority && idOf(priorities(), priority) };
  const fields = report.fields();
  const known = fields.length ? customFields() : [];
  let notes = '';
  for (const { name, value: { tag, val } } of fields) {
    const value = tag === 'json' ? JSON.parse(val) : val;
    const custom = known.find((it) => `${it.id}` === name || it.name.toLowerCase() === name.toLowerCase());
    if (custom) issue.custom_fields.push({ id: custom.id, value });
    else if (MEMBERS.includes(name)) issue[name] = value;
    else if (/^[1-9]\d*$/.test(name)) issue.custom_fields.push({ id: Number(name), value });
    else notes += `\n\nNot set: there is no field "${name}"`;
  }
  for (const attachment of report.attachments()) {
    try { issue.uploads.push(upload(attachment)); } catch (why) {
      notes += `\n\nNot attached: ${attachment.name}: ${why.message}`;
    }
  }
  issue.description = report.description(markup(), TEXT_CHARS_MAX, field ? undefined : marker) + notes;
  return defect(member(exchange('post', '/issues.json', [], json({ issue })), 'issue'));
}

function find(marker) {
  const field = settings()['marker-field'];
  const filter = field ? [`cf_${field}`, marker] : ['description', `~${marker}`];
  const issues = get('/issues.json', 'issues', ['status_id', '*'], ['sort', 'id'], ['limit', 5], filter);
  if (issues.length === 0) currentUser();
  // Redmine ignores a filter that does not exist in it, and returns all issues.
  if (issues.every((issue) => contains(issue, marker, field))) return issues.map(defect);
  return fail('unsupported', `this Redmine cannot search by ${filter[0]}`);
}

function count() {
  currentUser();
  const { tracker, ...given } = settings();
  const known = priorities();
  const [critical, moderate] = ['critical-priorities', 'moderate-priorities'].map((key) =>
    (given[key] ?? SCHEMA.properties[key].default).map((name) => idOf(known, name)).join('|'));
  const page = `/projects/${given.project}/issues`;
  const scope = tracker ? [['tracker_id', idOf(project('trackers'), tracker)]] : [];
  const total = (status, ids) => ids === '' ? 0 : get(`${page}.json`, 'total_count', ...scope,
    ['status_id', status], ...(ids ? [['priority_id', ids]] : []), ['limit', 1]);
  const criticalQuery = [...scope, ['set_filter', 1], ['status_id', 'open'], ['priority_id', critical]];
  return { open: total('open'), closed: total('closed'), critical: total('open', critical),
    moderate: total('open', moderate), criticalLink: critical ? address(page, criticalQuery) : undefined };
}

export const plugin = {
  describe: () => ({ name: 'Redmine (JavaScript)', version: '0.1.0', indexDelaySeconds: 0,
    summary: 'Creates, finds and counts Redmine issues.', settings: JSON.stringify(SCHEMA) }),
  check: () => `${address('')} as ${currentUser().login}, ${count().open} open issues in ${project('name')}`,
  choices: (setting) => fail('unsupported', `the setting ${setting} does not have a list of values`),
};
export const defects = { create, find };
export const kpis = { count };
export const followUp = {
  state(key) {
    try {
      const issue = read(key, '');
      return { defect: defect(issue), open: !issue.status.is_closed };
    } catch (error) {
      if (error.status !== 404) throw error;
      currentUser(); // Fails if the API key is wrong. Otherwise the issue no longer exists.
      return undefined;
    }
  },
  comment(key, test, marker) { put(key, { notes: report.comment(markup(), TEXT_CHARS_MAX, marker) }); },
  findComment: (key, marker) => read(key, 'journals').journals.some(({ notes }) => notes?.includes(marker)),
  reopen(key) { // Redmine ignores a status that the workflow does not allow.
    const { status, allowed_statuses: allowed } = read(key, 'allowed_statuses');
    if (!status.is_closed) return;
    const open = allowed.find((it) => !it.is_closed);
    put(key, { status_id: (open ?? fail('rejected', 'the workflow does not allow to open this issue again')).id });
  },
  attach(key, id) {
    const file = report.attachments().find((it) => it.id === id) ?? fail('rejected', `the report has no attachment ${id}`);
    put(key, { uploads: [upload(file)] });
  },
  attached: (key) => read(key, 'attachments').attachments.map(({ filename }) => filename),
};
