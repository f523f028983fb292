// An app as people write it with openid-client: discovery, code and PKCE, every
// way to authenticate, and what can be done with tokens.
import * as client from 'openid-client';
import { talk } from './talk.mjs';

const kinds = {
  RS384: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
  ES384: { name: 'ECDSA', namedCurve: 'P-384' },
};
const keys = {}; // by algorithm
let config, started;

const tokens = (t) => ({ ...t, claims: t.claims() });

await talk({
  // key makes a key pair and gives the half to register.
  async key({ alg }) {
    const pair = await crypto.subtle.generateKey(kinds[alg], false, ['sign', 'verify']);
    keys[alg] = { key: pair.privateKey, kid: alg };
    const { key_ops, ext, ...jwk } = await crypto.subtle.exportKey('jwk', pair.publicKey);
    return { ...jwk, kid: alg, alg, use: 'sig' };
  },

  // discover begins again, as one client. The algorithm of the server's metadata
  // is https://www.rfc-editor.org/rfc/rfc8414 or that of OpenID Connect.
  async discover({ issuer, id, secret, alg, algorithm }) {
    const auth = alg ? client.PrivateKeyJwt(keys[alg]) : secret ? client.ClientSecretBasic(secret) : client.None();
    const execute = [client.allowInsecureRequests, client.enableNonRepudiationChecks];
    config = await client.discovery(new URL(issuer), id, { id_token_signed_response_alg: 'RS256' }, auth, { execute, algorithm });
    return config.serverMetadata();
  },

  async authorize({ params }) {
    started = { pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState: client.randomState(), expectedNonce: client.randomNonce(), idTokenExpected: true };
    return client.buildAuthorizationUrl(config, {
      ...params,
      state: started.expectedState,
      nonce: started.expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(started.pkceCodeVerifier),
      code_challenge_method: 'S256',
    }).href;
  },

  async callback({ url }) {
    return tokens(await client.authorizationCodeGrant(config, new URL(url), started));
  },

  async refresh({ token, params }) {
    return tokens(await client.refreshTokenGrant(config, token, params));
  },

  async credentials({ scope }) {
    return client.clientCredentialsGrant(config, { scope });
  },

  userinfo: ({ token, subject }) => client.fetchUserInfo(config, token, subject),
  introspect: ({ token }) => client.tokenIntrospection(config, token),
  revoke: ({ token }) => client.tokenRevocation(config, token),

  async fetch({ token, url }) {
    const response = await client.fetchProtectedResource(config, token, new URL(url), 'GET');
    return response.json();
  },
});
