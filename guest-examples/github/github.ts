// Reads the settings, sends requests to the API of GitHub, and converts its answers.
import type * as Defects from 'jackfield:connector/defects@0.1.0';
import type { Response } from 'jackfield:connector/http@0.1.0';
import { fail, part, settings, tracker } from './jackfield.js';
import schema from './settings.schema.json';

type Settings = {
  url: string;
  repository: string;
  labels: string[];
  'critical-labels': string[];
  'moderate-labels': string[];
};
export type Issue = {
  number: number;
  title: string;
  body: string | null;
  html_url: string;
  repository_url: string;
  state: 'open' | 'closed';
  state_reason?: string | null;
  labels: (string | { name?: string })[];
};
export type Found = { total_count: number; incomplete_results: boolean; items: Issue[] };
type Problem = { message?: string; field?: string; code?: string } | string;

export const PAGE_SIZE = 100;

export const given = () => settings<Settings>(schema);
export const repository = () => `/repos/${given().repository}`;

export const github = tracker({
  name: 'GitHub',
  address: 'url',
  secret: 'token',
  headers: {
    Accept: 'application/vnd.github+json',
    'X-GitHub-Api-Version': '2022-11-28',
    'User-Agent': 'jackfield',
  },
  reasons: ({ message, errors = [] }: { message?: string; errors?: Problem[] }) => [
    message ?? '',
    ...errors.map((it) => (typeof it === 'string' ? it : (it.message ?? `${it.field} is ${it.code}`))),
  ],
  inspect: rateLimited,
});

/**
 * Fails if a rate limit refuses the request. If it is the primary limit, the answer has the status
 * 403 or 429, zero remaining requests, and the time when the limit ends. If it is a secondary limit,
 * the answer may have only a message that says so. Then GitHub requires a wait of at least one minute.
 */
function rateLimited({ status, headers, text }: Response, answered: string): void {
  const header = (name: string) => headers.find(([key]) => key === name)?.[1];
  const isLimit =
    header('x-ratelimit-remaining') === '0' || header('retry-after') || /rate limit/i.test(text ?? '');
  // The library `jackfield.js` reads the Retry-After of a 429.
  const isForLibrary = status === 429 && header('retry-after');
  if (![403, 429].includes(status) || !isLimit || isForLibrary) return;
  const now = Date.parse(header('date') ?? '') || Date.now();
  const reset = Number(header('x-ratelimit-reset')) - now / 1000;
  const seconds = Number(header('retry-after')) || (header('x-ratelimit-remaining') === '0' ? reset : 60);
  fail('rate-limited', answered, { retryAfterSeconds: Math.max(1, Math.ceil(seconds || 60)) });
}

/** Returns "owner/name#12". GitHub itself uses this form to refer to an issue of any repository. */
export const keyOf = (issue: Issue) =>
  `${part(issue, '/repository_url').split('/repos/')[1]}#${issue.number}`;

/** Returns the API path of the issue with this key. */
export function pathOf(key: string): string {
  const [, name, number] =
    /^([\w.-]+\/[\w.-]+)#(\d+)$/.exec(key) ?? fail('rejected', `"${key}" is not OWNER/NAME#NUMBER`);
  return `/repos/${name}/issues/${number}`;
}

export const labelsOf = (issue: Issue) =>
  (part(issue, '/labels') as Issue['labels']).map((it) => (typeof it === 'string' ? it : (it.name ?? '')));

export function defect(issue: Issue): Defects.Defect {
  const { 'critical-labels': critical, 'moderate-labels': moderate } = given();
  const labels = labelsOf(issue);
  const reason =
    issue.state === 'closed' && issue.state_reason ? ` as ${issue.state_reason.replace('_', ' ')}` : '';
  return {
    key: keyOf(issue),
    title: part(issue, '/title'),
    link: part(issue, '/html_url'),
    status: `${issue.state}${reason}`,
    priority: [...critical, ...moderate].find((name) => labels.includes(name)),
    description: issue.body ?? undefined,
  };
}

/** Requests a list. An answer that is not a list is an error. */
export function list<T>(path: string, query: Record<string, string | number>): T[] {
  const items = github.get(path, '', query);
  return Array.isArray(items)
    ? items
    : fail('unavailable', `GitHub's answer to ${path} is not a list`, { setting: 'url' });
}

export const login = (): string => github.get('/user', '/login');

/** Searches for issues. If a search takes too long, GitHub stops it and returns only some issues. That is an error. */
export function search(query: string, size: number): Found {
  const found: Found = github.get('/search/issues', '', { q: `${query} is:issue`, per_page: size });
  if (part(found, '/incomplete_results') === true)
    fail('unavailable', 'GitHub did not finish the search in time');
  return found;
}

/** Refuses a label that does not exist. Otherwise its count would be zero, and no person would notice. */
export function checkLabels(setting: 'critical-labels' | 'moderate-labels'): string[] {
  const labels = given()[setting];
  for (const label of labels) {
    try {
      github.get(`${repository()}/labels/${encodeURIComponent(label)}`, '/name');
    } catch (error) {
      if ((error as { status?: number }).status !== 404) throw error;
      fail('rejected', `${given().repository} has no label "${label}"`, { setting });
    }
  }
  return labels;
}

/** Returns the filter of a search for issues that have at least one of these labels. */
export const anyOf = (labels: string[]) => `label:${labels.map((label) => `"${label}"`).join(',')}`;
