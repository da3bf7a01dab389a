// @ts-check
// A connector for a small tracker. The contract and the manual are in `wit/connector.wit`.
//
// Each exported interface is an exported object. A name in kebab-case becomes camelCase. An option without
// a value is undefined. `fail` throws an error of the contract. Any other exception ends the run, and the
// run's log shows its stack. No function is async: a request returns when the tracker has answered.
import * as report from 'jackfield:connector/report@0.1.0';
import { fail, idOf, page, part, settings, tracker } from './jackfield.js';
import schema from './settings.schema.json';

const api = tracker({ name: 'The tracker', address: 'url', secret: 'api-key', reasons: '/errors' });

/**
 * The settings of `settings.schema.json`. The host adds the API key to each request.
 * @returns {{ url: string, project: string, critical: string[] }}
 */
const given = () => settings(schema);

/** Returns the user of the API key. A tracker may answer other requests even if this key is wrong. */
const user = () => api.get('/users/current.json', '/user/login');

/** @returns {import('jackfield:connector/model@0.1.0').Defect} */
const defect = (issue) => ({
  key: `${part(issue, '/id')}`,
  title: part(issue, '/subject'),
  link: page(given().url, `/issues/${issue.id}`),
  status: issue.status?.name,
  priority: issue.priority?.name,
  description: issue.description,
});

/** @type {typeof import('jackfield:connector/plugin@0.1.0')} */
export const plugin = {
  describe: () => ({
    name: 'Sample tracker',
    version: '0.1.0',
    summary: 'Creates, finds and counts issues of a small tracker.',
    settings: JSON.stringify(schema),
    indexDelaySeconds: 0, // for how many seconds the search may miss a new issue
  }),

  check: () => `reached as ${user()}, ${kpis.count('').open} open issues`,

  choices: (setting) => fail('unsupported', `${setting} has no list of values`),
};

/** @type {typeof import('jackfield:connector/defects@0.1.0')} */
export const defects = {
  /** Reads the report, then sends the only write. So no issue exists if an earlier step fails. */
  create(test, marker) {
    const issue = {
      description: report.description('markdown', 16000, marker),
      project_id: given().project,
      subject: report.title(255),
    };
    return defect(api.post('/issues.json', '/issue', { issue }));
  },

  find(marker) {
    const query = { status_id: '*', limit: 5, description: `~${marker}` };
    const issues = api.get('/issues.json', '/issues', query);
    if (issues.length === 0) user(); // The list is also empty if the API key is wrong. Then this request fails.
    if (!issues.every((issue) => issue.description?.includes(marker))) {
      fail('unsupported', 'the tracker ignores the search for the marker');
    }
    return issues.map(defect);
  },
};

/** @type {typeof import('jackfield:connector/kpis@0.1.0')} */
export const kpis = {
  count(_project) {
    user();
    const { url, project, critical } = given();
    const known = api.get('/enumerations/issue_priorities.json', '/issue_priorities');
    const ids = critical.map((name) => idOf(known, name, 'critical')).join('|');
    const path = `/projects/${project}/issues`;
    const count = (filter) => api.get(`${path}.json`, '/total_count', { ...filter, limit: 1 });
    const openCritical = { status_id: 'open', priority_id: ids };
    const open = count({ status_id: 'open' });
    const ofThese = count(openCritical);
    return {
      open,
      closed: count({ status_id: 'closed' }),
      critical: ofThese,
      moderate: Math.max(0, open - ofThese),
      criticalLink: page(url, path, openCritical),
    };
  },
};
