// @ts-check
// A connector for work items of one type in Azure DevOps Services and Server.
//
// Azure DevOps differs from other trackers in these points. A JSON patch creates and changes a work
// item. Searches and counts use the query language WIQL. If the token is not valid, the answer may
// be a sign-in page with the status 203 or 302. Texts are indexed in the background, so `find` also
// reads the newest work items. The description of a Bug is in another field than that of other
// types.
import * as report from 'jackfield:connector/report@0.1.0';
import {
  azure,
  defect,
  get,
  given,
  itemPath,
  list,
  patch,
  CLOSED,
  project,
  query,
  quoted,
  set,
  states,
  text,
  typePath,
  upload,
  user,
} from './azure.js';
import { fail, page, part } from './jackfield.js';
import schema from './settings.schema.json';

/** @typedef {import('./azure.js').Operation} Operation */
/** @typedef {import('./azure.js').WorkItem} WorkItem */

const COMMENTS_VERSION = '7.1-preview.4';
const TITLE_CHARS_MAX = 255;
const TEXT_CHARS_MAX = 100_000;
/** The number of the newest work items that `find` reads without the index. */
const NEWEST = 50;

/**
 * Returns the operations that set the fields and attach the files of the report. Also returns a
 * line of HTML for each field that does not exist, and for each file that could not be uploaded.
 */
function reported() {
  const [wanted, operations] = [report.fields(), /** @type {Operation[]} */ ([])];
  const known = wanted.length > 0 ? list(`${typePath()}/fields`) : [];
  let notes = '';
  for (const { name, value } of wanted) {
    const names = (/** @type {any} */ field) =>
      [field.referenceName, field.name].map((it) => it.toLowerCase());
    const field = known.find((it) => names(it).includes(name.toLowerCase()));
    if (field)
      operations.push(set(field.referenceName, value.tag === 'json' ? JSON.parse(value.val) : value.val));
    else notes += `<p>Not set: there is no field "${escaped(name)}"</p>`;
  }
  for (const file of report.attachments()) {
    try {
      operations.push(upload(file));
    } catch (error) {
      notes += `<p>Not attached: ${escaped(file.name)}: ${escaped(/** @type {any} */ (error).message ?? `${error}`)}</p>`;
    }
  }
  return { operations, notes };
}

/** @param {string} words */
const escaped = (words) => words.replace(/&/g, '&amp;').replace(/</g, '&lt;');

export const plugin = {
  describe: () => ({
    name: 'Azure DevOps',
    version: '0.1.0',
    summary: 'Creates, finds and counts work items of Azure DevOps Services and Server.',
    homepage: 'https://learn.microsoft.com/rest/api/azure/devops/wit/',
    settings: JSON.stringify(schema),
    // Microsoft does not document the index delay. The newest work items are read without the index.
    indexDelaySeconds: 300,
  }),

  check() {
    const who = user();
    const name = get(`/_apis/projects/${encodeURIComponent(given().project)}`, '/name');
    const { open } = kpis.count('');
    return `${given().url}, project ${name} as ${who}, ${open} open work items of type ${given().type}`;
  },

  /** @param {string} setting */
  choices: (setting) => fail('unsupported', `${setting} has no list of values`, { setting }),
};

export const defects = {
  /** @type {typeof import('jackfield:connector/defects@0.1.0').create} */
  create(_test, marker) {
    const { type, priority, tags, 'text-field': textField, 'priority-field': priorityField } = given();
    const title = report.title(TITLE_CHARS_MAX);
    const html = report.description('html', TEXT_CHARS_MAX, marker);
    const { operations, notes } = reported();
    operations.push(set('System.Title', title), set(textField, html + notes));
    if (priority) operations.push(set(priorityField, /^\d+$/.test(priority) ? Number(priority) : priority));
    if (tags?.length) operations.push(set('System.Tags', tags.join('; ')));
    return defect(patch(`${project()}/_apis/wit/workitems/$${encodeURIComponent(type)}`, 'post', operations));
  },

  /** Searches all projects, because people move work items. Reads the newest work items without the index.
   * @param {string} marker */
  find(marker) {
    const textField = given()['text-field'];
    const newest = query(`[System.TeamProject] = ${quoted(given().project)}`, {
      order: '[System.Id] DESC',
      top: NEWEST,
    });
    const found = query(`[${textField}] CONTAINS WORDS ${quoted(marker)}`, { order: '[System.Id]', top: 5 });
    const ids = [...new Set([...found, ...newest])].join(',');
    if (!ids) user(); // The list is also empty if the token is wrong. Then this request fails.
    const fields = ['System.Title', 'System.State', textField, given()['priority-field']].join(',');
    const items = ids ? list('/_apis/wit/workitems', { ids, fields, errorPolicy: 'omit' }) : [];
    const having = items.filter((item) => item && text(item)?.includes(marker));
    if (found.some((id) => !having.some((item) => item.id === id))) {
      fail('unavailable', 'Azure DevOps found a work item without the marker');
    }
    return having.sort((one, other) => one.id - other.id).map(defect);
  },
};

export const kpis = {
  /** @param {string} _project */
  count(_project) {
    const { url, project: name, type, 'priority-field': field, ...rest } = given();
    const scope = `[System.TeamProject] = ${quoted(name)} AND [System.WorkItemType] = ${quoted(type)}`;
    const closed = states()
      .filter(({ category }) => CLOSED.includes(category))
      .map((state) => quoted(state.name));
    if (closed.length === 0) fail('rejected', `the type ${type} has no closed state`, { setting: 'type' });
    const isOpen = `${scope} AND [System.State] NOT IN (${closed.join(', ')})`;
    /** @param {'critical-priorities' | 'moderate-priorities'} setting */
    const of = (setting) => {
      const values = rest[setting].map((it) => (/^\d+$/.test(it) ? it : quoted(it)));
      return values.length > 0 ? `${isOpen} AND [${field}] IN (${values.join(', ')})` : '';
    };
    const [critical, moderate] = [of('critical-priorities'), of('moderate-priorities')];
    const wiql = `SELECT [System.Id], [System.Title], [System.State] FROM WorkItems WHERE ${critical}`;
    return {
      open: query(isOpen).length,
      closed: query(`${scope} AND [System.State] IN (${closed.join(', ')})`).length,
      critical: critical ? query(critical).length : 0,
      moderate: moderate ? query(moderate).length : 0,
      criticalLink: critical ? page(url, `${project()}/_workitems`, { _a: 'query', wiql }) : undefined,
    };
  },
};

/** @param {WorkItem} item */
const isOpen = (item) => {
  const state = part(item, '/fields')['System.State'];
  return !states().some(({ name, category }) => name === state && CLOSED.includes(category));
};

export const followUp = {
  /** @param {string} key */
  state(key) {
    try {
      const item = get(`/_apis/wit/workitems/${encodeURIComponent(key)}`, '');
      return { defect: defect(item), open: isOpen(item) };
    } catch (error) {
      if (/** @type {any} */ (error).status !== 404) throw error;
      user(); // Fails if the token is wrong. Otherwise the work item no longer exists.
      return undefined;
    }
  },

  /** @type {typeof import('jackfield:connector/follow-up@0.1.0').comment} */
  comment(key, _test, marker) {
    azure.request('post', `${itemPath(key)}/comments`, {
      query: { 'api-version': COMMENTS_VERSION },
      json: { text: report.comment('html', TEXT_CHARS_MAX, marker) },
    });
  },

  /** @type {typeof import('jackfield:connector/follow-up@0.1.0').findComment} */
  findComment(key, marker) {
    for (let token; ;) {
      const query = { 'api-version': COMMENTS_VERSION, $top: 200, continuationToken: token };
      const answer = azure.request('get', `${itemPath(key)}/comments`, { query });
      if (part(answer, '/comments').some((/** @type {any} */ it) => it.text?.includes(marker))) return true;
      token = answer.continuationToken;
      if (!token) return false;
    }
  },

  /** @param {string} key */
  reopen(key) {
    if (isOpen(get(itemPath(key), ''))) return;
    const wanted = given()['reopen-state'];
    const state = wanted ?? states().find(({ category }) => category === 'Proposed')?.name;
    if (!state)
      fail('rejected', `the type ${given().type} has no state that opens a work item again`, { setting: 'reopen-state' });
    patch(itemPath(key), 'patch', [set('System.State', state)]);
  },

  /** @type {typeof import('jackfield:connector/follow-up@0.1.0').attach} */
  attach(key, id) {
    const file =
      report.attachments().find((it) => it.id === id) ??
      fail('rejected', `the report has no attachment ${id}`);
    patch(itemPath(key), 'patch', [upload(file)]);
  },

  /** @param {string} key */
  attached(key) {
    /** @type {WorkItem} */
    const { relations = [] } = get(itemPath(key), '', { $expand: 'relations' });
    return relations
      .filter(({ rel }) => rel === 'AttachedFile')
      .map(({ attributes }) => attributes?.name ?? '');
  },
};
