// A connector for GitHub Issues: github.com, Enterprise Cloud with data residency, and Enterprise Server.
//
// GitHub differs from other trackers in these points. It may answer 403 if a rate limit is exceeded. It indexes
// new issues in the background, so `find` also reads the newest issues. Labels are used as priorities. An issue
// may move to another repository. The API accepts no files.
import type * as Defects from 'jackfield:connector/defects@0.1.0';
import type * as FollowUp from 'jackfield:connector/follow-up@0.1.0';
import type * as Kpis from 'jackfield:connector/kpis@0.1.0';
import type * as Plugin from 'jackfield:connector/plugin@0.1.0';
import * as report from 'jackfield:connector/report@0.1.0';
import {
  anyOf,
  checkLabels,
  defect,
  type Found,
  github,
  given,
  type Issue,
  keyOf,
  labelsOf,
  list,
  login,
  PAGE_SIZE,
  pathOf,
  repository,
  search,
} from './github.js';
import { fail, page, part } from './jackfield.js';
import schema from './settings.schema.json';

const TITLE_CHARS_MAX = 256;
const BODY_CHARS_MAX = 65_536;
/** The members of an issue that the connection may set as fields of the report. */
const MEMBERS = ['assignees', 'labels', 'milestone', 'type'];

/** Returns the number of the open milestone with this title or number. */
function milestone(name: string): number {
  const known = list<{ number: number; title: string }>(`${repository()}/milestones`, {
    state: 'open',
    per_page: PAGE_SIZE,
  });
  const found = known.find(({ number, title }) => `${number}` === name || title === name);
  return found?.number ?? fail('rejected', `${given().repository} has no open milestone "${name}"`);
}

/** Returns the members that the fields of the report set, and a line for each field that GitHub does not have. */
function fields() {
  const members: Record<string, unknown> = { labels: given().labels };
  let notes = '';
  for (const { name, value } of report.fields()) {
    const read = value.tag === 'json' ? JSON.parse(value.val) : value.val;
    if (!MEMBERS.includes(name)) notes += `\n\nNot set: there is no field "${name}"`;
    else if (name === 'type') members.type = read;
    else if (name === 'milestone') members.milestone = milestone(`${read}`);
    else members[name] = [...((members[name] as string[]) ?? []), ...[read].flat()];
  }
  return { members, notes };
}

export const plugin: typeof Plugin = {
  describe: () => ({
    name: 'GitHub Issues',
    version: '0.1.0',
    summary: 'Creates, finds and counts issues of a GitHub repository, and comments on them.',
    homepage: 'https://docs.github.com/rest/issues',
    settings: JSON.stringify(schema),
    // GitHub does not document its index delay. `find` reads the newest issues without the index.
    indexDelaySeconds: 300,
  }),

  check() {
    const user = login();
    const { full_name, has_issues } = github.get(repository(), '');
    if (has_issues !== true)
      fail('rejected', `${full_name} has no issues: they are switched off`, { setting: 'repository' });
    checkLabels('critical-labels');
    checkLabels('moderate-labels');
    return `${full_name} at ${given().url} as ${user}, ${search(`repo:${full_name} is:open`, 1).total_count} open issues`;
  },

  choices: (setting) => fail('unsupported', `${setting} has no list of values`, { setting }),
};

export const defects: typeof Defects = {
  create(_test, marker) {
    const { members, notes } = fields();
    const body = report.description('markdown', BODY_CHARS_MAX - 4096, marker) + notes;
    const issue: Issue = github.post(`${repository()}/issues`, '', {
      title: report.title(TITLE_CHARS_MAX),
      body,
      ...members,
    });
    // If the user is not allowed to push, GitHub ignores the labels without an error.
    const lost = given().labels.filter((label) => !labelsOf(issue).includes(label));
    if (lost.length > 0) console.warn(`GitHub did not set the labels ${lost.join(', ')}: is the user allowed to push?`);
    return defect(issue);
  },

  /** Searches all repositories of the owner, because an issue can move between them. Also reads the newest issues. */
  find(marker) {
    const { items }: Found = search(`${marker} in:body user:${given().repository.split('/')[0]}`, 5);
    if (!part({ items }, '/items').every((issue: Issue) => issue.body?.includes(marker))) {
      fail('unavailable', 'the search of GitHub returned an issue without the marker');
    }
    const newest = list<Issue>(`${repository()}/issues`, {
      state: 'all',
      sort: 'created',
      direction: 'desc',
      per_page: PAGE_SIZE,
    });
    const recent = newest.filter((issue) => issue.body?.includes(marker)).reverse();
    const found = new Map([...items, ...recent].map((issue) => [keyOf(issue), issue]));
    if (found.size === 0) login(); // The list is also empty if the token is wrong. Then this request fails.
    return [...found.values()].map(defect);
  },
};

export const kpis: typeof Kpis = {
  count(_project) {
    const [critical, moderate] = [checkLabels('critical-labels'), checkLabels('moderate-labels')];
    const html_url: string = github.get(repository(), '/html_url');
    const total = (filter: string): number =>
      part(search(`repo:${given().repository} ${filter}`, 1), '/total_count');
    const without = critical.map((label) => ` -label:"${label}"`).join('');
    return {
      open: total('is:open'),
      closed: total('is:closed'),
      critical: critical.length > 0 ? total(`is:open ${anyOf(critical)}`) : 0,
      moderate: moderate.length > 0 ? total(`is:open ${anyOf(moderate)}${without}`) : 0,
      criticalLink:
        critical.length > 0
          ? page(html_url, '/issues', { q: `is:issue is:open ${anyOf(critical)}` })
          : undefined,
    };
  },
};

export const followUp: typeof FollowUp = {
  /** If an issue was moved, GitHub redirects the request to the new place. */
  state(key) {
    try {
      const issue: Issue = github.get(pathOf(key), '');
      return { defect: defect(issue), open: issue.state === 'open' };
    } catch (error) {
      const { status } = error as { status?: number };
      if (status !== 404 && status !== 410) throw error;
      github.get(repository(), '/id'); // Fails if the token is wrong. Otherwise the issue no longer exists.
      return undefined;
    }
  },

  comment(key, _test, marker) {
    github.post(`${pathOf(key)}/comments`, '/id', {
      body: report.comment('markdown', BODY_CHARS_MAX, marker),
    });
  },

  findComment(key, marker) {
    for (let number = 1; ; number += 1) {
      const comments = list<{ body?: string }>(`${pathOf(key)}/comments`, {
        per_page: PAGE_SIZE,
        page: number,
      });
      if (comments.some(({ body }) => body?.includes(marker))) return true;
      if (comments.length < PAGE_SIZE) return false;
    }
  },

  reopen(key) {
    const path = pathOf(key);
    if (github.get(path, '/state') === 'open') return;
    github.request('patch', path, { json: { state: 'open', state_reason: 'reopened' } });
  },

  attach: () => noFiles(),
  attached: () => noFiles(),
};

const noFiles = () =>
  fail('unsupported', "GitHub's API takes no files: open the test case log, whose link is in the issue");
