// An OpenID Connect provider made with oidc-provider: one relying party, people who
// need no password, and two ways of signing in: "pwd" and, where it is asked for
// by acr_values, "mfa".
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';
import { talk } from './talk.mjs';

let issuer, provider, posted;
const server = createServer((request, response) => {
  const uid = request.url.match(/^\/interaction\/([\w-]+)$/)?.[1];
  if (!provider) response.writeHead(503).end();
  else if (uid) interact(request, response).catch((error) => response.writeHead(500).end(String(error)));
  else provider.callback()(request, response);
});

// interact shows the sign-in form and takes it.
async function interact(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  if (request.method === 'GET') {
    const strong = params.acr_values?.split(' ').includes('mfa');
    response.writeHead(200, { 'Content-Type': 'text/html' });
    response.end(`<!doctype html><title>Sign in</title><form method="post">
      <input name="login" value="${(params.login_hint ?? '').replace(/\W/g, '')}"><input name="acr" value="${strong ? 'mfa' : 'pwd'}"><button>Sign in</button></form>`);
    return;
  }
  let body = '';
  for await (const part of request) body += part;
  const form = new URLSearchParams(body);
  const result = form.get('login') ? { login: { accountId: form.get('login'), acr: form.get('acr') } } : { error: 'access_denied' };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

function key() {
  const jwk = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  return { ...jwk, kid: randomUUID(), alg: 'RS256', use: 'sig' };
}

await talk({
  async listen({ port }) {
    await new Promise((resolve, reject) => server.once('error', reject).listen(port ?? 0, '127.0.0.1', resolve));
    issuer = `http://127.0.0.1:${server.address().port}`;
    return { issuer, port: server.address().port };
  },

  // posted is the last form that was sent to the relying party.
  posted: () => posted,

  // open serves the one client, with a new key; people are the claims of those
  // who can sign in, by their subject.
  open({ client, people }) {
    provider = new Provider(issuer, {
      clients: [client],
      jwks: { keys: [key()] },
      cookies: { keys: [randomUUID()] },
      acrValues: ['pwd', 'mfa'],
      claims: { openid: ['sub', 'groups'], profile: ['name'], email: ['email', 'email_verified'], acr: null, auth_time: null, sid: null, amr: null },
      conformIdTokenClaims: false,
      features: {
        devInteractions: { enabled: false },
        backchannelLogout: { enabled: true },
        rpInitiatedLogout: {
          logoutSource: (ctx, form) => {
            ctx.body = `<!doctype html><title>Sign out</title>${form.replace('</form>', '<button name="logout" value="yes">Sign out</button></form>')}`;
          },
        },
      },
      // The library would not reach a relying party on this machine.
      fetch: (url, { dispatcher, ...options }) => {
        posted = String(options.body);
        return fetch(url, options);
      },
      findAccount: (ctx, sub) => people[sub] && { accountId: sub, claims: () => ({ sub, ...people[sub] }) },
      interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
      async loadExistingGrant(ctx) {
        const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
        grant.addOIDCScope('openid profile email');
        await grant.save();
        return grant;
      },
    });
    for (const event of ['server_error', 'authorization.error', 'grant.error', 'end_session.error', 'backchannel.error']) {
      provider.on(event, (ctx, error) => console.error(event, error));
    }
  },
});
