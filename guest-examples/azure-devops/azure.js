// @ts-check
// Reads the settings, sends requests to the API of Azure DevOps, and converts its answers.
import { fail, page, part, settings, tracker } from './jackfield.js';
import schema from './settings.schema.json';

/** @typedef {{ url: string, project: string, type: string, 'text-field': string, 'priority-field': string, priority?: string, 'critical-priorities': string[], 'moderate-priorities': string[], tags?: string[], 'reopen-state'?: string }} Settings */
/** @typedef {{ id: number, fields: Record<string, any>, relations?: { rel: string, url: string, attributes?: { name?: string } }[] }} WorkItem */
/** @typedef {{ op: 'add', path: string, value: unknown }} Operation */

const VERSION = '7.1';
/** A work item is closed if its state has one of these categories. */
export const CLOSED = ['Resolved', 'Completed', 'Removed'];

/** @returns {Settings} */
export const given = () => settings(schema);
export const project = () => `/${encodeURIComponent(given().project)}`;

export const azure = tracker({
  name: 'Azure DevOps',
  address: 'url',
  secret: 'token',
  reasons: '/message',
  // Without this header, Azure DevOps answers a wrong token with a redirect to the sign-in page instead of 401.
  headers: { 'X-TFS-FedAuthRedirect': 'Suppress' },
  inspect({ status }, answered) {
    if (status === 203 || status === 302) {
      fail('unauthorized', `${answered} with its sign-in page. Is the token right, and not expired?`, {
        setting: 'token',
      });
    }
  },
});

/** @type {(path: string, wanted: string, query?: Record<string, string | number>) => any} */
export const get = (path, wanted, query) => azure.get(path, wanted, { ...query, 'api-version': VERSION });

/** Requests a list, which is in the member `value` of the answer. @type {(path: string, query?: Record<string, string | number>) => any[]} */
export const list = (path, query) => listOf(get(path, '/value', query), path);

/** @type {(value: unknown, path: string) => any[]} */
const listOf = (value, path) =>
  Array.isArray(value)
    ? value
    : fail('unavailable', `Azure DevOps has no list in its answer to ${path}`, { setting: 'url' });

/** Returns the user of the token. Without a valid token, the answer names the user Anonymous. */
export function user() {
  const who = azure.get('/_apis/connectionData', '/authenticatedUser', { 'api-version': '7.1-preview.1' });
  if (who.providerDisplayName === 'Anonymous')
    fail('unauthorized', 'Azure DevOps did not accept the token', { setting: 'token' });
  return part(who, '/providerDisplayName');
}

/** Quotes a text for WIQL. @param {string} text */
export const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

/** Returns the ids of the work items that a query finds. If there are more than 20,000, Azure DevOps refuses the query.
 * @type {(condition: string, more?: { order?: string, top?: number }) => number[]} */
export function query(condition, { order = '', top } = {}) {
  const path = `${project()}/_apis/wit/wiql`;
  const wiql = `SELECT [System.Id] FROM WorkItems WHERE ${condition}${order && ` ORDER BY ${order}`}`;
  const answer = azure.request('post', path, {
    effect: 'read',
    json: { query: wiql },
    query: { 'api-version': VERSION, $top: top },
  });
  return listOf(part(answer, '/workItems'), path).map((it) => part(it, '/id'));
}

/** Returns the states that a work item of the connection's type can have. @type {() => { name: string, category: string }[]} */
export const states = () => list(`${typePath()}/states`);
export const typePath = () => `${project()}/_apis/wit/workitemtypes/${encodeURIComponent(given().type)}`;
/** @param {string} id */
export const itemPath = (id) => `${project()}/_apis/wit/workitems/${encodeURIComponent(id)}`;

/** @type {(path: string, method: 'post' | 'patch', operations: Operation[]) => WorkItem} */
export const patch = (path, method, operations) =>
  azure.request(method, path, {
    query: { 'api-version': VERSION },
    json: operations,
    headers: { 'Content-Type': 'application/json-patch+json' },
  });

/** @type {(field: string, value: unknown) => Operation} */
export const set = (field, value) => ({ op: 'add', path: `/fields/${field}`, value });

/** @param {WorkItem} item */
export const text = (item) => part(item, '/fields')[given()['text-field']];

/** @param {WorkItem} item */
export function defect(item) {
  const fields = part(item, '/fields');
  const value = fields[given()['priority-field']];
  return {
    key: `${part(item, '/id')}`,
    title: part(fields, '/System.Title'),
    link: page(given().url, `${project()}/_workitems/edit/${item.id}`),
    status: fields['System.State'],
    priority: value === undefined ? undefined : `${value}`,
    description: plain(text(item)),
  };
}

/** Converts HTML to plain text. @param {string | undefined} html */
const plain = (html) =>
  html
    ?.replace(/<(br|\/p|\/div|\/li|\/h\d)\b[^>]*>/g, '\n')
    .replace(/<[^>]*>/g, '')
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&quot;/g, '"')
    .replace(/&#39;/g, "'")
    .replace(/&amp;/g, '&')
    .slice(0, 16_000);

/** Uploads a file. Returns the operation that attaches the file to a work item.
 * @param {{ id: number, name: string }} file
 * @returns {Operation} */
export function upload({ id, name }) {
  const answer = azure.request('post', `${project()}/_apis/wit/attachments`, {
    effect: 'prepare',
    query: { fileName: name, 'api-version': VERSION },
    headers: { 'Content-Type': 'application/octet-stream' },
    body: { tag: 'attachment', val: id },
  });
  return {
    op: 'add',
    path: '/relations/-',
    value: { rel: 'AttachedFile', url: part(answer, '/url'), attributes: { name } },
  };
}
