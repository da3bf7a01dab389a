// An OpenID Connect provider for tests. The header `x-person` of a request names the person who signs
// in. No password is needed. Prints its issuer when it is ready. Arguments: the redirect address, and
// how the client authenticates.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirectUri, method = 'client_secret_basic'] = process.argv.slice(2);
const GROUPS = { ann: ['jackfield-admins'], otto: ['sales', 'testers'], nora: ['sales'] };

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'jackfield',
        client_secret: 'the-secret+of/the client',
        redirect_uris: [redirectUri],
        token_endpoint_auth_method: method,
      },
    ],
    clientAuthMethods: [method],
    claims: { openid: ['sub'], email: ['email'], profile: ['groups'] },
    conformIdTokenClaims: false,
    cookies: { keys: ['a-key-of-the-tests'] },
    features: { devInteractions: { enabled: false } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, groups: GROUPS[id] }),
    }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    // The provider asks no person for consent.
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope('openid email profile');
      await grant.save();
      return grant;
    },
  });
  const answer = provider.callback();
  server.on('request', async (request, response) => {
    if (!request.url.startsWith('/interaction/')) return answer(request, response);
    const login = { accountId: request.headers['x-person'] };
    await provider.interactionFinished(request, response, { login });
  });
  console.log(issuer);
});
