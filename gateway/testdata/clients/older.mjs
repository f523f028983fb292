// Lends Node 18, which is Debian 12's, what the libraries take from newer ones.
// It is preloaded (--import) and does nothing where nothing is missing.
import * as crypto from 'node:crypto';
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';

globalThis.crypto ??= crypto.webcrypto;
globalThis.CryptoKey ??= crypto.webcrypto.CryptoKey;
URL.parse ??= (url, base) => {
  try {
    return new URL(url, base);
  } catch {
    return null;
  }
};

// crypto.hash cannot be added to a built-in module, so the one library that calls
// it gets a module of its own.
if (isMainThread && !crypto.hash) register(import.meta.url);

export async function resolve(specifier, context, next) {
  if (specifier !== 'node:crypto' || !context.parentURL?.includes('/oidc-provider/')) return next(specifier, context);
  return { url: 'older:crypto', format: 'module', shortCircuit: true };
}

export async function load(url, context, next) {
  if (url !== 'older:crypto') return next(url, context);
  const source = `
    import { createHash } from 'node:crypto';
    export * from 'node:crypto';
    export const hash = (algorithm, data, encoding = 'hex') =>
      createHash(algorithm).update(data).digest(encoding === 'buffer' ? undefined : encoding);`;
  return { source, format: 'module', shortCircuit: true };
}
