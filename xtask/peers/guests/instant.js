// A connector that answers at once, without a request to a tracker.
const SCHEMA = { type: 'object', properties: {}, additionalProperties: false };
const defect = (marker) => ({ key: marker, title: 'created without a tracker',
  link: `http://tracker.test/${marker}` });

export const plugin = {
  describe: () => ({ name: 'instant', version: '1.0.0', indexDelaySeconds: 0,
    summary: 'answers at once', settings: JSON.stringify(SCHEMA) }),
  check: () => 'nothing to check',
  choices: () => ({ choices: [], more: false }),
};
export const defects = { create: (test, marker) => defect(marker), find: () => [] };
export const kpis = { count: () => ({ open: 1, closed: 0, critical: 0, moderate: 0 }) };
